"""Networks: a network is a module with `init`, `reverse` and `reverse_vjp`; `bound` knows none of them by name.

    reverse(parameters, x_t, step, *, t)        p(x_{t−1} | x_t) for rows x_t at steps t; `step` as in `schedule.Step`
"""
