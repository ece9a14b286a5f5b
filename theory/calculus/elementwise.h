/* The functions of elementwise.py for one number, by their SymPy names: what the loops that compiled.py writes call. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LEAK @LEAK@

static inline double Gate(double h) { return h > 0.0 ? 1.0 : 0.0; }
static inline double ReLU(double h) { return h > 0.0 ? h : 0.0 * h; } /* not a number stays so */
static inline double LeakyReLU(double h) { return h > 0.0 ? h : LEAK * h; }
static inline double Over(double x, double y) { return y != 0.0 ? x / y : 0.0; }
static inline double larger(double x, double y) { return x > y ? x : y; }

/* exp(x) to a unit in the last place, in straight-line code: a loop over it is vectorised, and one over libm's is not.
   x = n log 2 + rest with |rest| <= log(2)/2, and Taylor's series there up to rest^13/13!; the next term is below 1e-17.
   Cut off at 2^-1021 and 2^1023, so that it is never infinite and never zero; not a number stays so. */
static inline double Exp(double x) {
    double cut = x < -708.0 ? -708.0 : x > 709.0 ? 709.0 : x;
    double n = floor(cut * 1.4426950408889634 + 0.5);
    double rest = (cut - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10; /* log 2 to 86 bits */
    double series = 1.0 / 6227020800.0;
    series = series * rest + 1.0 / 479001600.0;
    series = series * rest + 1.0 / 39916800.0;
    series = series * rest + 1.0 / 3628800.0;
    series = series * rest + 1.0 / 362880.0;
    series = series * rest + 1.0 / 40320.0;
    series = series * rest + 1.0 / 5040.0;
    series = series * rest + 1.0 / 720.0;
    series = series * rest + 1.0 / 120.0;
    series = series * rest + 1.0 / 24.0;
    series = series * rest + 1.0 / 6.0;
    series = series * rest + 0.5;
    series = series * rest + 1.0;
    series = series * rest + 1.0;
    /* 2^n: n + 1023 comes to stand in the last bits of a number between 2^52 and 2^53, and moves from there to the exponent. */
    double shifted = n + (1023.0 + 4503599627370496.0);
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

/* tanh(x) to 2e-16 of 1. */
static inline double Tanh(double x) {
    double small = Exp(-2.0 * fabs(x));
    return copysign((1.0 - small) / (1.0 + small), x);
}

static inline double Sigmoid(double z) { return 1.0 / (1.0 + Exp(-z)); }
static inline double Logistic(double z) { return log1p(Exp(-fabs(z))) + (z < 0.0 ? -z : 0.0); }

static inline double HalfLogOdds(double plus, double total) {
    if (plus == 0.0) return -INFINITY;
    return plus == total ? INFINITY : 0.5 * (log(plus) - log(total - plus));
}

/* P(mean + sqrt(variance) Z > 0), and the density there; at variance 0 the gate, and zero. */
static inline double Cdf(double mean, double variance) {
    return variance > 0.0 ? 0.5 * erfc(-mean / sqrt(2.0 * variance)) : Gate(mean);
}
static inline double Density(double mean, double variance) {
    double tau2 = variance > 0.0 ? variance : 1.0;
    double density = Exp(-0.5 * mean * mean / tau2) / sqrt(6.283185307179586 * tau2);
    return variance > 0.0 ? density : 0.0;
}
