"""Networks: a network is a module with `init`, `reverse` and `reverse_vjp`; `bound` knows none of them by name.

    reverse(parameters, x_t, step, *, t)        p(x_{t−1} | x_t) for rows x_t at steps t; `step` as in `schedule.Step`

Layers make numbers of x_t, the heads; what these numbers mean is said by a read-out, `readout` for real numbers and `bit_readout`
for bits.  Layers know nothing of the process; a read-out knows its kernel and its schedule.
"""
