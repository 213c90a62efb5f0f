/* A forward chain in C, checked against ../GAU.json without refdpm and without any library but the standard one.

       cc -std=c99 -O2 check.c -o check -lm && ./check ../GAU.json

   It prints a line for each function and exits with 0 if every test passes, with 1 if not, with 2 if it cannot read the file.
   With -DMISTAKE it takes x_t for a measurement of x_{t-1} with variance beta, forgetting that x_{t-1} was shrunk before, and
   prints which of the known mistakes explains all that fails. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 16.0                      /* of error/(u tolerance), as the files say under "tolerance" */

/* -- what is checked: textbook formulas, one component at a time --------------------------------------------------------- */

typedef struct { double x_prev, x_0, x_t, mean_q, var_q, mean_p, var_p, beta, alpha_bar, alpha_bar_prev; } Given;

static void forward(Given g, double *mean, double *var) {
    *mean = sqrt(1 - g.beta) * g.x_prev;
    *var = g.beta;
}

static void marginal(Given g, double *mean, double *var) {
    *mean = sqrt(g.alpha_bar) * g.x_0;
    *var = 1 - g.alpha_bar;
}

static void posterior(Given g, double *mean, double *var) {
    double alpha = 1 - g.beta, before = 1 - g.alpha_bar_prev, rest = 1 - g.alpha_bar;
    *mean = (sqrt(g.alpha_bar_prev) * g.beta * g.x_0 + sqrt(alpha) * before * g.x_t) / rest;
    *var = g.beta * before / rest;
#ifdef MISTAKE
    *mean = (sqrt(g.alpha_bar_prev) * g.beta * g.x_0 + sqrt(alpha) * before * g.x_t) / (before + g.beta);
    *var = g.beta * before / (before + g.beta);
#endif
}

static void kl(Given g, double *value, double *unused) {
    double difference = g.mean_q - g.mean_p;
    *value = (log(g.var_p / g.var_q) + (g.var_q + difference * difference) / g.var_p - 1) / 2;
    *unused = 0;
}

static const struct { const char *name, *outputs[2]; void (*compute)(Given, double *, double *); } OURS[] = {
    {"forward", {"mean", "var"}, forward}, {"marginal", {"mean", "var"}, marginal},
    {"posterior", {"mean", "var"}, posterior}, {"kl", {"value", NULL}, kl}};

/* -- JSON: a value is a text, a number, or a list of values, which have keys if it is an object --------------------------- */

typedef struct Value { const char *key, *text; double number; struct Value *first, *next; } Value;

static char *at;                                        /* what is not yet read */

static void stop(const char *expected, const char *got) {
    fprintf(stderr, "expected %s, got '%.20s'\n", expected, got);
    exit(2);
}

static void *reserved(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) stop("memory", "none");
    return memory;
}

static int same(const char *one, const char *other) { return one && other && !strcmp(one, other); }

static int next_is(char c) {
    at += strspn(at, " \t\r\n");
    return *at == c ? at++, 1 : 0;
}

static void expect(char c) {
    if (!next_is(c)) stop((char[]){c, 0}, at);
}

static const char *string(void) {                       /* in its place; of escapes only \" and \\ occur */
    char *start, *end;
    expect('"');
    for (start = end = at; *at && *at != '"'; *end++ = *at++) at += *at == '\\';
    expect('"');
    *end = 0;
    return start;
}

static Value *value(void) {
    Value *v = reserved(sizeof *v), **last = &v->first;
    at += strspn(at, " \t\r\n");
    if (*at == '"') {
        v->text = string();
        v->number = strtod(v->text, NULL);              /* of "Infinity" too */
    } else if (next_is('{') || next_is('[')) {
        char closing = at[-1] == '{' ? '}' : ']';
        while (!next_is(closing)) {
            const char *key = closing == '}' ? string() : NULL;
            if (key) expect(':');
            *last = value();
            (*last)->key = key;
            last = &(*last)->next;
            if (!next_is(',')) { expect(closing); break; }
        }
    } else {
        char *end;
        v->number = strtod(at, &end);
        if (end == at) stop("a number", at);
        at = end;
    }
    return v;
}

static const Value *found(const Value *object, const char *key) {
    const Value *v = object->first;
    while (v && !same(v->key, key)) v = v->next;
    return v;
}

static const Value *member(const Value *object, const char *key) {
    const Value *v = found(object, key);
    if (!v) stop(key, "none");
    return v;
}

static size_t flattened(const Value *v, double *out) {  /* how many numbers there are in nested lists; into out if it is one */
    size_t count = 0;
    if (!v->first) { if (out) *out = v->number; return 1; }
    for (const Value *one = v->first; one; one = one->next) count += flattened(one, out ? out + count : NULL);
    return count;
}

typedef struct { size_t count; double *x; } Numbers;

static Numbers numbers(const Value *object, const char *key) {
    const Value *v = found(object, key);
    Numbers all = {v ? flattened(v, NULL) : 0, NULL};
    all.x = reserved((all.count + 1) * sizeof *all.x);
    if (v) flattened(v, all.x);
    return all;
}

/* -- the check ------------------------------------------------------------------------------------------------------------- */

static const Value *document;
static char *ruled_out;                                 /* of the mistakes in the document, in their order */

static int listed(const Value *list, const char *text) {
    const Value *v = list->first;
    while (v && !same(v->text, text)) v = v->next;
    return v != NULL;
}

/* A mistake that explains everything is a flag of each output that is wrong, and of none that is right. */
static void learn(double ratio, const Value *flags) {
    int right = ratio <= LIMIT, wrong = ratio > ldexp(LIMIT, 29), k = 0;        /* in single precision too, for which the flags are */
    for (const Value *flag = member(document, "flags")->first; flag; flag = flag->next, k++)
        if (listed(flags, flag->key) ? right : wrong) ruled_out[k] = 1;
}

static double ratio_of(double ours, double expected, double tolerance) {   /* error/(u tolerance) */
    double error = ours == expected ? 0 : fabs(ours - expected), ratio = error > 0 ? ldexp(error, 53) / tolerance : error;
    return ratio == ratio ? ratio : INFINITY;
}

static double worst_of(const Value *test, size_t function) {
    static const char *names[] = {"x_prev", "x_0", "x_t", "mean_q", "var_q", "mean_p", "var_p"};
    const Value *inputs = member(test, "inputs");
    Numbers state[7], t = numbers(inputs, "t"), beta = numbers(inputs, "beta");      /* none for kl */
    double worst = 0;
    size_t size = 0;
    for (int k = 0; k < 7; k++) if ((state[k] = numbers(inputs, names[k])).count) size = state[k].count;
    for (int output = 0; output < 2 && OURS[function].outputs[output]; output++) {
        const char *name = OURS[function].outputs[output];
        Numbers expected = numbers(member(test, "outputs"), name), tolerance = numbers(member(test, "tolerance"), name);
        double largest = 0;
        if (expected.count > size || t.count > size || tolerance.count != expected.count) stop("one number for each", name);
        for (size_t i = 0; i < expected.count; i++) {
            size_t entry = i * (size / expected.count);                   /* one number a row stands for the row */
            double x[7] = {0}, ours[2], beta_t = 0, alpha_bar = 1, alpha_bar_prev = 1;
            for (int k = 0; k < 7; k++) if (state[k].count) x[k] = state[k].x[entry];
            for (size_t s = 0; s < beta.count && s < t.x[entry / (size / t.count)]; s++) {
                beta_t = beta.x[s];
                alpha_bar_prev = alpha_bar;
                alpha_bar *= 1 - beta_t;
            }
            Given g = {x[0], x[1], x[2], x[3], x[4], x[5], x[6], beta_t, alpha_bar, alpha_bar_prev};
            OURS[function].compute(g, &ours[0], &ours[1]);
            largest = fmax(largest, ratio_of(ours[output], expected.x[i], tolerance.x[i]));
        }
        learn(largest, member(member(test, "flags"), name));
        worst = fmax(worst, largest);
    }
    return worst;
}

/* Of a test under another convention than ours: a posterior with the variance of t = 2 at t = 1, where ours is 0. */
static int is_of_others(const Value *test) {
    const Value *first = found(member(test, "inputs"), "posterior_first");
    return first && same(first->text, "next");
}

static char *read_all(const char *path) {
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file && !fseek(file, 0, SEEK_END)) size = ftell(file);
    if (size < 0) { perror(path); exit(2); }
    rewind(file);
    char *text = reserved((size_t)size + 1);
    if (fread(text, 1, (size_t)size, file) != (size_t)size) { perror(path); exit(2); }
    fclose(file);
    return text;
}

int main(int count, char **arguments) {
    int wrong = 0, k = 0;
    at = read_all(count > 1 ? arguments[1] : "../GAU.json");
    document = value();
    ruled_out = reserved(flattened(member(document, "flags"), NULL) + 1);
    for (size_t f = 0; f < sizeof OURS / sizeof *OURS; f++) {
        const Value *function = member(document, "functions")->first;
        while (function && !same(member(function, "name")->text, OURS[f].name)) function = function->next;
        if (!function) stop(OURS[f].name, "no tests of it");
        int tests = 0, failed = 0;
        double worst = 0;
        for (const Value *test = member(function, "tests")->first; test; test = test->next) {
            if (is_of_others(test)) continue;
            tests++;
            double ratio = worst_of(test, f);
            failed += !(ratio <= LIMIT);
            worst = fmax(worst, ratio);
        }
        printf("%-10s %d of %d tests pass, largest error %.3g u tolerance\n", OURS[f].name, tests - failed, tests, worst);
        wrong += failed;
    }
    for (const Value *flag = member(document, "flags")->first; wrong && flag; flag = flag->next)
        if (!ruled_out[k++]) printf("what fails is explained by %s: %s\n", flag->key, flag->text);
    return wrong > 0;
}
