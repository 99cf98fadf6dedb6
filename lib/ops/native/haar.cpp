// One level of the Haar transform and its inverse, channels-last: the same butterfly, read and written the other way.

#include <cstdint>

// image (batch, D, H, W, C) with even sizes, two axes where dims is 2 (D = 1); bands (batch, D', H', W', 2^dims, C).
template <typename REAL, int DIMS>
static void haar(const REAL *from, REAL *to, const int64_t *sizes, int64_t inverse, int64_t threads) {
  const int CORNERS = 1 << DIMS;
  const REAL scale = DIMS == 2 ? 0.5 : 0.35355339059327373;
  const int64_t C = sizes[4], H = sizes[2], W = sizes[3], depth = DIMS == 3 ? 2 : 1;
  const int64_t planes = sizes[0] * sizes[1] / depth;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
  for (int64_t plane = 0; plane < planes; plane++)
    for (int64_t h = 0; h < H / 2; h++)
      for (int64_t w = 0; w < W / 2; w++) {
        // The first axis has the highest bit of a corner and of a band.
        int64_t corner[CORNERS];
        for (int c = 0; c < CORNERS; c++) {
          const int64_t z = DIMS == 3 ? 2 * plane + (c >> 2) : plane, y = 2 * h + (c >> 1 & 1), x = 2 * w + (c & 1);
          corner[c] = ((z * H + y) * W + x) * C;
        }
        const int64_t band = ((plane * (H / 2) + h) * (W / 2) + w) * CORNERS * C;
#pragma omp simd
        for (int64_t i = 0; i < C; i++) {
          REAL v[CORNERS];
          for (int c = 0; c < CORNERS; c++) v[c] = scale * (inverse ? from[band + c * C + i] : from[corner[c] + i]);
          for (int bit = 1; bit < CORNERS; bit <<= 1)
            for (int c = 0; c < CORNERS; c++)
              if (!(c & bit)) {
                const REAL low = v[c] + v[c | bit], high = v[c] - v[c | bit];
                v[c] = low, v[c | bit] = high;
              }
          for (int c = 0; c < CORNERS; c++) (inverse ? to[corner[c] + i] : to[band + c * C + i]) = v[c];
        }
      }
}

#define HAAR(REAL, SUFFIX)                                                                                              \
  extern "C" int haar_##SUFFIX(const REAL *from, REAL *to, const int64_t *sizes, int64_t dims, int64_t inverse,         \
                               int64_t threads) {                                                                       \
    if (dims == 2) haar<REAL, 2>(from, to, sizes, inverse, threads);                                                    \
    else haar<REAL, 3>(from, to, sizes, inverse, threads);                                                              \
    return 0;                                                                                                           \
  }
HAAR(float, f32)
HAAR(double, f64)
