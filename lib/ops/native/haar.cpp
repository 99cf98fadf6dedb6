// One level of the Haar transform and its inverse, channels-last. Both use the same butterfly; only the offsets of reading
// and writing are exchanged.

#include <cstdint>

// Image (batch, D, H, W, C) with even sizes, where D = 1 if dims is 2; bands (batch, D / 2, H / 2, W / 2, 2^dims, C).
template <typename REAL, int DIMS, bool INVERSE>
static void haar(const REAL *from, REAL *to, const int64_t *sizes, int64_t threads) {
  constexpr int CORNERS = 1 << DIMS;
  const REAL scale = DIMS == 2 ? 0.5 : 0.35355339059327373;
  const int64_t C = sizes[4], H = sizes[2], W = sizes[3], depth = DIMS == 3 ? 2 : 1;
  const int64_t planes = sizes[0] * sizes[1] / depth;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
  for (int64_t plane = 0; plane < planes; plane++)
    for (int64_t h = 0; h < H / 2; h++)
      for (int64_t w = 0; w < W / 2; w++) {
        const int64_t band = ((plane * (H / 2) + h) * (W / 2) + w) * CORNERS * C;
        // The first axis has the highest bit of a corner and of a band.
        const auto corner = [&](int c) {
          const int64_t z = DIMS == 3 ? 2 * plane + (c >> 2) : plane, y = 2 * h + (c >> 1 & 1), x = 2 * w + (c & 1);
          return ((z * H + y) * W + x) * C;
        };
        const int64_t at[8] = {corner(0), corner(1), corner(2), corner(3),
                               DIMS == 3 ? corner(4) : 0, DIMS == 3 ? corner(5) : 0,
                               DIMS == 3 ? corner(6) : 0, DIMS == 3 ? corner(7) : 0};
#pragma omp simd
        for (int64_t i = 0; i < C; i++) {
          REAL v[CORNERS];
#pragma GCC unroll 8
          for (int c = 0; c < CORNERS; c++) v[c] = scale * from[(INVERSE ? band + c * C : at[c]) + i];
#pragma GCC unroll 3
          for (int bit = 1; bit < CORNERS; bit <<= 1)
#pragma GCC unroll 8
            for (int c = 0; c < CORNERS; c++)
              if (!(c & bit)) {
                const REAL low = v[c] + v[c | bit], high = v[c] - v[c | bit];
                v[c] = low, v[c | bit] = high;
              }
#pragma GCC unroll 8
          for (int c = 0; c < CORNERS; c++) to[(INVERSE ? at[c] : band + c * C) + i] = v[c];
        }
      }
}

#define HAAR(REAL, SUFFIX)                                                                                              \
  extern "C" int haar_##SUFFIX(const REAL *from, REAL *to, const int64_t *sizes, int64_t dims, int64_t inverse,         \
                               int64_t threads) {                                                                       \
    const auto run = dims == 2 ? (inverse ? haar<REAL, 2, true> : haar<REAL, 2, false>)                                 \
                               : (inverse ? haar<REAL, 3, true> : haar<REAL, 3, false>);                                \
    run(from, to, sizes, threads);                                                                                      \
    return 0;                                                                                                           \
  }
HAAR(float, f32)
HAAR(double, f64)
