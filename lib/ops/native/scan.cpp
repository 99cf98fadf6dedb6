// Selective scan on a CPU: vectors over channels, states in registers, and a backward pass that recomputes the states.
// The interface is plain C without headers of torch, so that one build works with every version of torch.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

static const int MAX_STATES = 64;  // largest number of states per channel
static const int MAX_RANKS = 256;  // largest rank of the steps
static const int TILE = 32;        // tokens staged at a time, a multiple of four; equal to _TILE in native.py
static const int STRIP = 32;       // channels of one task of the forward pass: two cache lines in float
static const int SLAB = 64;        // channels of one task of the backward pass
static const int ABREAST = BYTES < 64 ? 4 : 8;  // states that fit into the registers together with their decays
static const double LOG2_E = 1.4426950408889634, LN_2 = 0.6931471805599453;

// If ranks is 0, delta holds the steps (batch, L, E). Otherwise delta holds dt (batch, L, G, ranks), and the steps are its
// product with the weight. The weight is given twice: as (G, ranks, E / G), and as weight_rows (G, E / G, padded), whose
// rows are padded with zeros to whole vectors. The forward pass stores the states before every tile in starts
// (batch, tiles, N, E) for the backward pass; starts is null if there is no backward pass.
#define PROBLEM(REAL, NAME)                                                                   \
  struct NAME(Problem) {                                                                      \
    const REAL *u, *delta, *weight, *weight_rows, *A, *B, *C, *D, *bias;                      \
    REAL *y, *starts;                                                                         \
    const int32_t *order;                                                                     \
    int64_t batch, L, E, G, N, ranks, padded, use_softplus, threads;                          \
  };                                                                                          \
  struct NAME(Gradients) {                                                                    \
    const REAL *dy;                                                                           \
    REAL *du, *ddelta, *dweight, *dA, *dB, *dC, *dD, *dbias;                                  \
  };

// exp2 without a library call: split off the integer part by adding 1.5 * 2^mantissa, add it to the exponent, and evaluate
// a polynomial of the remainder in [-1/2, 1/2]. The argument is clamped to the range of normal numbers, unless the caller
// guarantees with SAFE that it lies within. COUNT vectors are computed side by side to hide the latency of each step.
#define EACH for (int i = 0; i < COUNT; i++)
#define EXP2(REAL, INT, LANES, NAME, MAGIC, MANTISSA, LOWEST, ...)                            \
  template <bool SAFE, int COUNT> static inline void NAME(exp2)(NAME(vec) (&x)[COUNT]) {      \
    const REAL coefficients[] = {__VA_ARGS__};                                                \
    const NAME(vec) lowest = NAME(vec){} + (REAL)(LOWEST), highest = -lowest;                 \
    NAME(vec) shifted[COUNT], p[COUNT];                                                       \
    EACH if (!SAFE) x[i] = x[i] > lowest ? x[i] : lowest, x[i] = x[i] < highest ? x[i] : highest; \
    EACH shifted[i] = x[i] + (REAL)(MAGIC);                                                   \
    EACH x[i] -= shifted[i] - (REAL)(MAGIC);                                                  \
    EACH p[i] = x[i] * coefficients[0] + coefficients[1];                                     \
    for (unsigned j = 2; j < sizeof coefficients / sizeof(REAL); j++) EACH p[i] = p[i] * x[i] + coefficients[j]; \
    EACH x[i] = (NAME(vec))((NAME(int_vec))p[i] + ((NAME(int_vec))shifted[i] << MANTISSA));   \
  }

#define VECTORS(REAL, INT, LANES, NAME)                                                                       \
  typedef REAL NAME(vec) __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias)); \
  typedef INT NAME(int_vec) __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

#define REAL float
#define LANES (BYTES / 4)
#define NAME(x) x##_f32
#define SOFTPLUS_TOP 15
#define RANGE 126
PROBLEM(float, NAME)
VECTORS(float, int32_t, LANES, NAME)
// The polynomials in float minimise the largest relative error: 2e-9 at degree 6, 3e-8 with a table. Degree 5 would have
// an error of 7.5e-8, with the same sign in every step of a slow decay.
#if BYTES == 64
// AVX-512 splits off the integer part with one instruction and adds it to the exponent with another, without a clamp.
template <bool SAFE, int COUNT> static inline void exp2_f32(vec_f32 (&x)[COUNT]) {
  vec_f32 rest[COUNT], p[COUNT];
  EACH rest[i] = (vec_f32)_mm512_reduce_ps((__m512)x[i], _MM_FROUND_TO_NEG_INF), p[i] = vec_f32{} + 2.1702255423e-4f;
  for (float c : {1.2439688073e-3f, 9.6788409383e-3f, 5.5483342034e-2f, 2.4022983626e-1f, 6.9314698384e-1f, 1.0f})
    EACH p[i] = p[i] * rest[i] + c;
  EACH x[i] = (vec_f32)_mm512_scalef_ps((__m512)p[i], (__m512)x[i]);
}
#elif BYTES == 32 && defined(__AVX2__)
// AVX2 has few registers and half the loads. So split off multiples of 1/8, look their powers up in a table with one
// instruction, and use a polynomial of degree 3 that is exactly 1 at 0. The shift below adds j << 20 to the exponent of
// entry j, so that amount is subtracted from the entries of the table.
static const int32_t EIGHTHS[8] = {0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7,
                                   0x3f7504f3, 0x3f75672a, 0x3f7744fd, 0x3f7ac0c7};
template <bool SAFE, int COUNT> static inline void exp2_f32(vec_f32 (&x)[COUNT]) {
  const float magic = 1572864.0f;
  vec_f32 shifted[COUNT], p[COUNT];
  const vec_f32 table = *(const vec_f32 *)EIGHTHS, lowest = vec_f32{} - 126.0f, highest = -lowest;
  EACH if (!SAFE) x[i] = x[i] > lowest ? x[i] : lowest, x[i] = x[i] < highest ? x[i] : highest;
  EACH shifted[i] = x[i] + magic;
  EACH x[i] -= shifted[i] - magic;
  EACH p[i] = x[i] * 5.54960283821e-2f + 2.40257633401e-1f;
  EACH p[i] = p[i] * x[i] + 6.93147215026e-1f;
  EACH x[i] *= p[i];
  EACH p[i] = __builtin_shuffle(table, (int_vec_f32)shifted[i]);
  EACH p[i] = (vec_f32)((int_vec_f32)p[i] + ((int_vec_f32)shifted[i] << 20));
  EACH x[i] = p[i] * x[i] + p[i];
}
#else
EXP2(float, int32_t, LANES, NAME, 12582912.0, 23, -126, 1.5345811989e-4, 1.3399931385e-3, 9.6184889586e-3,
     5.5503287766e-2, 2.4022646891e-1, 6.9314720574e-1, 1.0)
#endif
#include "scan.h"
#undef REAL
#undef LANES
#undef NAME
#undef SOFTPLUS_TOP
#undef RANGE

#define REAL double
#define LANES (BYTES / 8)
#define NAME(x) x##_f64
#define SOFTPLUS_TOP 35
#define RANGE 1022
PROBLEM(double, NAME)
VECTORS(double, int64_t, LANES, NAME)
EXP2(double, int64_t, LANES, NAME, 6755399441055744.0, 52, -1022, 4.4455382718708e-10, 7.0549116208011e-9,
     1.0178086009240e-7, 1.3215486790144e-6, 1.5252733804060e-5, 1.5403530393382e-4, 1.3333558146428e-3,
     9.6181291076285e-3, 5.5504108664822e-2, 2.4022650695910e-1, 6.9314718055995e-1, 1.0)
#include "scan.h"
