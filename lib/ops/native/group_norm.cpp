// Group normalisation of channels-last images, and its gradients. torch's own reads such memory with a stride.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

static const int64_t BLOCK = 512;  // pixels that one float sum takes in; blocks add up in double, in their order

template <typename REAL> struct Norm {
  const REAL *x, *weight, *bias;  // (batch, pixels, C), (C), (C)
  REAL *y, *mean, *rstd;          // (batch, pixels, C), (batch, groups), (batch, groups)
  double eps;
  int64_t batch, pixels, C, groups, threads;

  int64_t blocks() const { return (pixels + BLOCK - 1) / BLOCK; }
  int64_t width() const { return C / groups; }
};

// Two sums per channel of every block: `add(image, first pixel, last pixel, sums)`; returns (batch, 2, C).
template <typename REAL, typename ADD> static std::vector<double> channel_sums(const Norm<REAL> &n, ADD add) {
  const int64_t blocks = n.blocks(), C = n.C;
  std::vector<REAL> partial(n.batch * blocks * 2 * C, 0);
#pragma omp parallel for num_threads(n.threads) schedule(static) collapse(2)
  for (int64_t image = 0; image < n.batch; image++)
    for (int64_t block = 0; block < blocks; block++) {
      REAL *sums = partial.data() + (image * blocks + block) * 2 * C;
      add(image, block * BLOCK, std::min((block + 1) * BLOCK, n.pixels), sums, sums + C);
    }
  std::vector<double> total(n.batch * 2 * C, 0);
  for (int64_t image = 0; image < n.batch; image++)
    for (int64_t block = 0; block < blocks; block++)
      for (int64_t i = 0; i < 2 * C; i++) total[image * 2 * C + i] += partial[(image * blocks + block) * 2 * C + i];
  return total;
}

template <typename REAL> static void normalise(const Norm<REAL> &n) {
  const int64_t C = n.C, P = n.pixels, width = n.width();
  // Distances from an image's first pixel: squares of what is far from zero would cancel.
  const auto sums = channel_sums(n, [&](int64_t image, int64_t from, int64_t to, REAL *first, REAL *second) {
    const REAL *x = n.x + image * P * C, *origin = x;
    for (int64_t p = from; p < to; p++)
#pragma omp simd
      for (int64_t c = 0; c < C; c++) {
        const REAL d = x[p * C + c] - origin[c];
        first[c] += d, second[c] += d * d;
      }
  });
  std::vector<REAL> scale(n.batch * C), offset(n.batch * C);
  for (int64_t image = 0; image < n.batch; image++)
    for (int64_t g = 0; g < n.groups; g++) {
      const double *first = sums.data() + image * 2 * C, *second = first + C;
      const REAL *origin = n.x + image * P * C;
      double mean = 0, squares = 0;
      for (int64_t c = g * width; c < (g + 1) * width; c++) mean += (origin[c] + first[c] / P) / width;
      for (int64_t c = g * width; c < (g + 1) * width; c++) {
        const double apart = origin[c] + first[c] / P - mean;
        squares += second[c] - first[c] * first[c] / P + P * apart * apart;
      }
      const double rstd = 1 / std::sqrt(std::max(squares, 0.0) / (P * width) + n.eps);
      n.mean[image * n.groups + g] = mean, n.rstd[image * n.groups + g] = rstd;
      for (int64_t c = g * width; c < (g + 1) * width; c++) {
        scale[image * C + c] = rstd * n.weight[c];
        offset[image * C + c] = n.bias[c] - mean * rstd * n.weight[c];
      }
    }
#pragma omp parallel for num_threads(n.threads) schedule(static) collapse(2)
  for (int64_t image = 0; image < n.batch; image++)
    for (int64_t p = 0; p < P; p++) {
      const REAL *x = n.x + (image * P + p) * C, *a = scale.data() + image * C, *b = offset.data() + image * C;
      REAL *y = n.y + (image * P + p) * C;
#pragma omp simd
      for (int64_t c = 0; c < C; c++) y[c] = x[c] * a[c] + b[c];
    }
}

template <typename REAL>
static void differentiate(const Norm<REAL> &n, const REAL *dy, REAL *dx, REAL *dweight, REAL *dbias) {
  const int64_t C = n.C, P = n.pixels, width = n.width();
  std::vector<REAL> centre(n.batch * C);
  for (int64_t i = 0; i < n.batch * C; i++) centre[i] = n.mean[i / C * n.groups + i % C / width];
  const auto sums = channel_sums(n, [&](int64_t image, int64_t from, int64_t to, REAL *first, REAL *second) {
    const REAL *x = n.x + image * P * C, *g = dy + image * P * C, *mean = centre.data() + image * C;
    for (int64_t p = from; p < to; p++)
#pragma omp simd
      for (int64_t c = 0; c < C; c++) {
        first[c] += g[p * C + c];
        second[c] += g[p * C + c] * (x[p * C + c] - mean[c]);
      }
  });
  std::fill(dweight, dweight + C, REAL(0)), std::fill(dbias, dbias + C, REAL(0));
  // dx = by_dy dy + by_x (x - mean) + by_one
  std::vector<REAL> by_dy(n.batch * C), by_x(n.batch * C), by_one(n.batch * C);
  for (int64_t image = 0; image < n.batch; image++)
    for (int64_t g = 0; g < n.groups; g++) {
      const double *first = sums.data() + image * 2 * C, *second = first + C, rstd = n.rstd[image * n.groups + g];
      double mean_dy = 0, mean_dyx = 0;
      for (int64_t c = g * width; c < (g + 1) * width; c++) {
        mean_dy += n.weight[c] * first[c] / (P * width);
        mean_dyx += n.weight[c] * second[c] / (P * width);
        dweight[c] += second[c] * rstd, dbias[c] += first[c];
      }
      for (int64_t c = g * width; c < (g + 1) * width; c++) {
        by_dy[image * C + c] = rstd * n.weight[c];
        by_x[image * C + c] = -rstd * rstd * rstd * mean_dyx;
        by_one[image * C + c] = -rstd * mean_dy;
      }
    }
#pragma omp parallel for num_threads(n.threads) schedule(static) collapse(2)
  for (int64_t image = 0; image < n.batch; image++)
    for (int64_t p = 0; p < P; p++) {
      const int64_t at = (image * P + p) * C, own = image * C;
#pragma omp simd
      for (int64_t c = 0; c < C; c++)
        dx[at + c] = by_dy[own + c] * dy[at + c] + by_x[own + c] * (n.x[at + c] - centre[own + c]) + by_one[own + c];
    }
}

#define GROUP_NORM(REAL, SUFFIX)                                                                                        \
  extern "C" int group_norm_forward_##SUFFIX(const Norm<REAL> *n) {                                                     \
    normalise(*n);                                                                                                      \
    return 0;                                                                                                           \
  }                                                                                                                     \
  extern "C" int group_norm_backward_##SUFFIX(const Norm<REAL> *n, const REAL *dy, REAL *dx, REAL *dweight,             \
                                              REAL *dbias) {                                                            \
    differentiate(*n, dy, dx, dweight, dbias);                                                                          \
    return 0;                                                                                                           \
  }
GROUP_NORM(float, f32)
GROUP_NORM(double, f64)
