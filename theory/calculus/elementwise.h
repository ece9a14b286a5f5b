/* The functions of elementwise.py for one number, by their SymPy names: what the loops that compiled.py writes call. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LEAK @LEAK@
/* Always: a loop that calls a function is not vectorised. */
#define INLINE static inline __attribute__((always_inline))

INLINE double Gate(double h) { return h > 0.0 ? 1.0 : 0.0; }
INLINE double ReLU(double h) { return h > 0.0 ? h : 0.0 * h; } /* not a number stays so */
INLINE double LeakyReLU(double h) { return h > 0.0 ? h : LEAK * h; }
INLINE double Over(double x, double y) { return y != 0.0 ? x / y : 0.0; }
INLINE double larger(double x, double y) { return x > y ? x : y; }

INLINE double folded(const double *part) { /* eight partial sums */
    return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

/* exp(x) to a unit in the last place, in straight-line code: a loop over it is vectorised, and one over libm's is not.
   x = n log 2 + rest with |rest| <= log(2)/2, and Taylor's series there up to rest^13/13!; the next term is below 1e-17.
   Cut off at 2^-1021 and 2^1023, so that it is never infinite and never zero; not a number stays so. */
INLINE double Exp(double x) {
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
INLINE double Tanh(double x) {
    double small = Exp(-2.0 * fabs(x));
    return copysign((1.0 - small) / (1.0 + small), x);
}

INLINE double Sigmoid(double z) { return 1.0 / (1.0 + Exp(-z)); }
INLINE double Logistic(double z) { return log1p(Exp(-fabs(z))) + (z < 0.0 ? -z : 0.0); }

INLINE double HalfLogOdds(double plus, double total) {
    if (plus == 0.0) return -INFINITY;
    return plus == total ? INFINITY : 0.5 * (log(plus) - log(total - plus));
}

/* erfc(x) for 0 <= x <= 26, and erfc(26) = 1e-295 beyond, to some units in the last place, in straight-line code: (1 + 2 x) exp(x^2) erfc(x) is a polynomial in
   y = (x - 4)/(x + 4), Chebyshev's interpolation of degree 22 on [0, 28]; its last coefficient there is 4e-17. */
INLINE double Erfc(double x) {
    x = x > 26.0 ? 26.0 : x; /* below, products become subnormal, which are slow */
    double y = (x - 4.0) / (x + 4.0);
    double series = -1.7668021904964841e-09;
    series = series * y - 1.3529367067220971e-08;
    series = series * y - 7.764817952397257e-09;
    series = series * y + 1.1494863135062745e-07;
    series = series * y + 6.258721442256385e-08;
    series = series * y - 8.346789501461553e-07;
    series = series * y + 3.016107881318932e-07;
    series = series * y + 5.717563626689596e-06;
    series = series * y - 1.1225008755089552e-05;
    series = series * y - 2.4403036998954536e-05;
    series = series * y + 0.00015062234674481447;
    series = series * y - 0.0001992555416162786;
    series = series * y - 0.000757773370277741;
    series = series * y + 0.005031969761432285;
    series = series * y - 0.0161977340542423;
    series = series * y + 0.037167515561938515;
    series = series * y - 0.0663303658119996;
    series = series * y + 0.09373283499682628;
    series = series * y - 0.10103906603632913;
    series = series * y + 0.06809705425473639;
    series = series * y + 0.015379652102620305;
    series = series * y - 0.1396211168405629;
    series = series * y + 1.2329951186255526;
    /* x^2 rounds by up to 2e-16 of itself, which the exponential would make larger: what is lost, exactly. */
    double square = x * x, split = 134217729.0 * x, high = split - (split - x), low = x - high;
    double lost = ((high * high - square) + 2.0 * high * low) + low * low;
    return series / (1.0 + 2.0 * x) * Exp(-square) * (1.0 - lost);
}

/* P(mean + sqrt(variance) Z > 0), and the density there; at variance 0 the gate, and zero. */
INLINE double Cdf(double mean, double variance) {
    double tail = 0.5 * Erfc(fabs(mean) / sqrt(2.0 * (variance > 0.0 ? variance : 1.0)));
    double smooth = mean > 0.0 ? 1.0 - tail : tail;
    return variance > 0.0 ? smooth : Gate(mean);
}
INLINE double Density(double mean, double variance) {
    double tau2 = variance > 0.0 ? variance : 1.0, power = -0.5 * mean * mean / tau2;
    double density = Exp(power < -676.0 ? -676.0 : power) / sqrt(6.283185307179586 * tau2);
    return variance > 0.0 ? density : 0.0;
}
