// The selective scan for one floating type; included once per type by scan.cpp, which defines REAL, LANES and NAME.
//
// A vector holds LANES channels of one token. Operands are channels-last: u, y (L, E); B, C (L, G, N); A transposed,
// (N, E), and multiplied by log2(e). With an order (G, L) the groups are scans of one image: all read the tokens of
// u (L, E / G) in their own order, and y (L, E / G) is the sum of what they answer.

#define vec NAME(vec)

static inline vec NAME(load)(const REAL *from, int64_t count) {
  vec v = {};
  if (count >= LANES) memcpy(&v, from, sizeof v);
  else memcpy(&v, from, count * sizeof(REAL));
  return v;
}

static inline void NAME(store)(REAL *to, vec v, int64_t count) {
  if (count >= LANES) memcpy(to, &v, sizeof v);
  else memcpy(to, &v, count * sizeof(REAL));
}

static inline REAL NAME(sum)(vec v) {
  REAL total = 0;
  for (int i = 0; i < LANES; i++) total += v[i];
  return total;
}

// softplus(x) = max(x, 0) + 2 artanh(s) with t = exp(-|x|), s = t / (2 + t) <= 1/3.
static inline vec NAME(softplus)(vec x) {
  vec t = NAME(exp2)((x < 0 ? x : -x) * (REAL)LOG2_E);
  vec s = t / (t + (REAL)2), q = s * s, series = {};
  for (int power = SOFTPLUS_TOP; power > 0; power -= 2) series = series * q + (REAL)1 / power;
  return (x > 0 ? x : vec{}) + 2 * s * series;
}

static inline vec NAME(sigmoid)(vec x) {
  vec t = NAME(exp2)((x < 0 ? x : -x) * (REAL)LOG2_E);
  return (x < 0 ? t : vec{} + 1) / (t + (REAL)1);
}

static inline int64_t NAME(place)(const NAME(Problem) & p, int64_t group, int64_t l) {
  return p.order ? p.order[group * p.L + l] : l;
}

// The biased step, before softplus, of `count` channels of a group from `first` on.
static inline vec NAME(raw_step)(const NAME(Problem) & p, int64_t token, int64_t group, int64_t first, int64_t count, vec bias) {
  const int64_t width = p.E / p.G;
  if (!p.ranks) return NAME(load)(p.delta + token * p.E + group * width + first, count) + bias;
  const REAL *dt = p.delta + (token * p.G + group) * p.ranks, *weight = p.weight + group * p.ranks * width + first;
  vec even = bias, odd = {};
  int64_t r = 0;
  for (; r + 1 < p.ranks; r += 2) {
    even += dt[r] * NAME(load)(weight + r * width, count);
    odd += dt[r + 1] * NAME(load)(weight + (r + 1) * width, count);
  }
  if (r < p.ranks) even += dt[r] * NAME(load)(weight + r * width, count);
  return even + odd;
}

// WIDE vectors abreast hide the latency of the recurrence where there are few states.
template <int STATES, int WIDE>
static void NAME(forward_block)(const NAME(Problem) & p, int64_t batch, int64_t group, int64_t first) {
  const int64_t E = p.E, L = p.L, GN = p.G * p.N, N = STATES ? STATES : p.N;
  const int64_t base = group * (E / p.G) + first;
  vec h[STATES ? STATES : MAX_STATES][WIDE], A[STATES ? STATES : MAX_STATES][WIDE], D[WIDE], bias[WIDE];
  int64_t count[WIDE];
  for (int w = 0; w < WIDE; w++) {
    count[w] = std::max<int64_t>(0, std::min<int64_t>(LANES, E / p.G - first - w * LANES));
    D[w] = NAME(load)(p.D + base + w * LANES, count[w]);
    bias[w] = NAME(load)(p.bias + base + w * LANES, count[w]);
    for (int n = 0; n < N; n++) {
      h[n][w] = vec{};
      A[n][w] = NAME(load)(p.A + n * E + base + w * LANES, count[w]);
    }
  }
  const int64_t Eu = p.order ? E / p.G : E, base_u = p.order ? first : base;
  const bool add = p.order && group > 0;
  for (int64_t l = 0; l < L; l++) {
    const int64_t t = NAME(place)(p, group, l), token = batch * L + t;
    const REAL *u = p.u + token * Eu + base_u;
    const REAL *B = p.B + token * GN + group * N, *C = p.C + token * GN + group * N;
    REAL *y = p.y + token * Eu + base_u;
    for (int w = 0; w < WIDE; w++) {
      if (WIDE > 1 && !count[w]) break;
      vec x = NAME(load)(u + w * LANES, count[w]);
      vec step = NAME(raw_step)(p, token, group, first + w * LANES, count[w], bias[w]);
      if (p.use_softplus) step = NAME(softplus)(step);
      vec input = step * x, out = D[w] * x, other = {};
#pragma GCC unroll 16
      for (int n = 0; n < N; n++) {
        h[n][w] = NAME(exp2)(step * A[n][w]) * h[n][w] + input * B[n];
        if (n % 2) other += h[n][w] * C[n];
        else out += h[n][w] * C[n];
      }
      if (add) out += NAME(load)(y + w * LANES, count[w]);
      NAME(store)(y + w * LANES, out + other, count[w]);
    }
  }
}

// The gradients of the channels [first, last) of one group; dB and dC go to this task's own slice of the workspace.
static void NAME(backward_task)(const NAME(Problem) & p, const NAME(Gradients) & d, int64_t batch, int64_t group,
                                int64_t first, int64_t last, REAL *dB, REAL *dC, REAL *ddt) {
  const int64_t E = p.E, L = p.L, N = p.N, GN = p.G * N, R = p.ranks, blocks = (last - first + LANES - 1) / LANES;
  const int64_t chunks = (L + CHUNK - 1) / CHUNK;
  std::vector<vec> starts(chunks * blocks * N), later(blocks * N, vec{}), h((CHUNK + 1) * N), a(CHUNK * N);
  std::vector<vec> sumB(CHUNK * N), sumC(CHUNK * N), dA(blocks * N, vec{}), dD(blocks, vec{}), dbias(blocks, vec{});
  std::vector<vec> dweight(R * blocks, vec{});
  vec steps[CHUNK], raws[CHUNK];
  REAL dsteps[CHUNK][SLAB];
  const REAL *B = p.B + batch * L * GN + group * N, *C = p.C + batch * L * GN + group * N;
  const int64_t Eu = p.order ? E / p.G : E, shift = p.order ? group * (E / p.G) : 0;
  auto sweep = [&](int64_t block, int64_t from, int64_t to, vec *state, bool keep) {
    const int64_t at = group * (E / p.G) + first + block * LANES, count = last - first - block * LANES;
    vec bias = NAME(load)(p.bias + at, count), A[MAX_STATES];
    for (int n = 0; n < N; n++) A[n] = NAME(load)(p.A + n * E + at, count);
    for (int64_t l = from; l < to; l++) {
      const int64_t t = NAME(place)(p, group, l);
      const vec raw = NAME(raw_step)(p, batch * L + t, group, first + block * LANES, count, bias);
      const vec step = p.use_softplus ? NAME(softplus)(raw) : raw;
      vec input = step * NAME(load)(p.u + (batch * L + t) * Eu + at - shift, count);
      if (keep) steps[l - from] = step, raws[l - from] = raw;
      for (int n = 0; n < N; n++) {
        vec decay = NAME(exp2)(step * A[n]);
        state[n] = decay * state[n] + input * B[t * GN + n];
        if (keep) a[(l - from) * N + n] = decay, h[(l - from + 1) * N + n] = state[n];
      }
    }
  };
  for (int64_t block = 0; block < blocks; block++) {
    vec state[MAX_STATES] = {};
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      memcpy(&starts[(chunk * blocks + block) * N], state, N * sizeof(vec));
      if (chunk + 1 < chunks) sweep(block, chunk * CHUNK, (chunk + 1) * CHUNK, state, false);
    }
  }
  for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
    const int64_t from = chunk * CHUNK, to = std::min<int64_t>(L, from + CHUNK);
    std::fill(sumB.begin(), sumB.end(), vec{});
    std::fill(sumC.begin(), sumC.end(), vec{});
    for (int64_t block = 0; block < blocks; block++) {
      const int64_t at = group * (E / p.G) + first + block * LANES, count = last - first - block * LANES;
      vec state[MAX_STATES], A[MAX_STATES], *g = &later[block * N];
      memcpy(state, &starts[(chunk * blocks + block) * N], N * sizeof(vec));
      memcpy(&h[0], state, N * sizeof(vec));
      sweep(block, from, to, state, true);
      // A holds A log2(e); the gradient of the step needs A itself.
      for (int n = 0; n < N; n++) A[n] = NAME(load)(p.A + n * E + at, count) * (REAL)LN_2;
      vec D = NAME(load)(p.D + at, count);
      for (int64_t l = to - 1; l >= from; l--) {
        const int64_t t = NAME(place)(p, group, l), k = (l - from) * N;
        const int64_t token_u = (batch * L + t) * Eu + at - shift;
        vec dy = NAME(load)(d.dy + token_u, count), x = NAME(load)(p.u + token_u, count), step = steps[l - from];
        vec input = step * x, dinput = {}, dstep = {};
        for (int n = 0; n < N; n++) {
          sumC[k + n] += dy * h[k + N + n];
          g[n] += dy * C[t * GN + n];
          sumB[k + n] += g[n] * input;
          dinput += g[n] * B[t * GN + n];
          g[n] *= a[k + n];
          vec slope = g[n] * h[k + n];
          dA[block * N + n] += slope * step;
          dstep += slope * A[n];
        }
        dstep += dinput * x;
        if (p.use_softplus) dstep *= NAME(sigmoid)(raws[l - from]);
        dD[block] += dy * x;
        dbias[block] += dstep;
        vec du = D * dy + dinput * step;
        if (shift) du += NAME(load)(d.du + token_u, count);
        NAME(store)(d.du + token_u, du, count);
        if (R) NAME(store)(&dsteps[l - from][block * LANES], dstep, LANES);
        else NAME(store)(d.ddelta + (batch * L + t) * E + at, dstep, count);
      }
    }
    for (int64_t r = 0; r < R; r++)
      for (int64_t block = 0; block < blocks; block++) {
        vec total = dweight[r * blocks + block];
        for (int64_t l = from; l < to; l++) {
          const int64_t token = batch * L + NAME(place)(p, group, l);
          total += p.delta[(token * p.G + group) * R + r] * NAME(load)(&dsteps[l - from][block * LANES], LANES);
        }
        dweight[r * blocks + block] = total;
      }
    for (int64_t l = from; R && l < to; l++)
      for (int64_t r = 0; r < p.padded; r += LANES) {
        vec total = {};
        const REAL *rows = p.weight_rows + (group * (E / p.G) + first) * p.padded + r;
        for (int64_t e = 0; e < last - first; e++) total += dsteps[l - from][e] * NAME(load)(rows + e * p.padded, LANES);
        NAME(store)(ddt + l * p.padded + r, total, LANES);
      }
    for (int64_t k = 0; k < (to - from) * N; k++) dB[from * N + k] = NAME(sum)(sumB[k]), dC[from * N + k] = NAME(sum)(sumC[k]);
  }
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t at = batch * E + group * (E / p.G) + first + block * LANES, count = last - first - block * LANES;
    for (int64_t r = 0; r < R; r++)
      NAME(store)(d.dweight + ((batch * p.G + group) * R + r) * (E / p.G) + first + block * LANES,
                  dweight[r * blocks + block], count);
    NAME(store)(d.dD + at, dD[block], count);
    NAME(store)(d.dbias + at, dbias[block], count);
    for (int n = 0; n < N; n++)
      NAME(store)(d.dA + (batch * N + n) * E + at - batch * E, dA[block * N + n], count);
  }
}

template <int STATES, int WIDE> static void NAME(forward)(const NAME(Problem) & p) {
  const int64_t per_group = p.E / p.G, width = LANES * WIDE, blocks = (per_group + width - 1) / width;
  // The scans of one image add to the same result, so one task makes them all, in their order.
  const int64_t abreast = p.order ? 1 : p.G, in_turn = p.G / abreast;
#pragma omp parallel for num_threads(p.threads) schedule(static)
  for (int64_t task = 0; task < p.batch * abreast * blocks; task++)
    for (int64_t turn = 0; turn < in_turn; turn++)
      NAME(forward_block)<STATES, WIDE>(p, task / (abreast * blocks), task / blocks % abreast + turn,
                                        task % blocks * width);
}

extern "C" int NAME(scan_forward)(const NAME(Problem) * p) {
  if (p->N > MAX_STATES || p->ranks > MAX_RANKS) return 1;
  switch (p->N) {
    case 1: NAME(forward)<1, 4>(*p); break;
    case 2: NAME(forward)<2, 4>(*p); break;
    case 4: NAME(forward)<4, 2>(*p); break;
    case 8: NAME(forward)<8, 1>(*p); break;
    case 16: NAME(forward)<16, 1>(*p); break;
    default: NAME(forward)<0, 1>(*p);
  }
  return 0;
}

// The slabs of channels do not depend on the number of threads, so neither does any sum. dA, dD, dbias and dweight come
// out per image; dB, dC and the gradient of dt are added over slabs in their order.
extern "C" int NAME(scan_backward)(const NAME(Problem) * problem, const NAME(Gradients) * gradients) {
  const NAME(Problem) &p = *problem;
  const NAME(Gradients) &d = *gradients;
  if (p.N > MAX_STATES || p.ranks > MAX_RANKS) return 1;
  const int64_t per_group = p.E / p.G, slabs = (per_group + SLAB - 1) / SLAB, states = p.L * p.N, steps = p.L * p.padded;
  const int64_t size = 2 * states + steps;
  std::vector<REAL> work(p.batch * p.G * slabs * size);
  const int64_t abreast = p.order ? 1 : p.G, in_turn = p.G / abreast;
#pragma omp parallel for num_threads(p.threads) schedule(static)
  for (int64_t task = 0; task < p.batch * abreast * slabs; task++)
    for (int64_t turn = 0; turn < in_turn; turn++) {
      const int64_t batch = task / (abreast * slabs), slab = task % slabs, first = slab * SLAB;
      const int64_t group = task / slabs % abreast + turn;
      REAL *own = &work[((batch * p.G + group) * slabs + slab) * size];
      NAME(backward_task)(p, d, batch, group, first, std::min<int64_t>(per_group, first + SLAB), own, own + states,
                          own + 2 * states);
    }
#pragma omp parallel for num_threads(p.threads) schedule(static)
  for (int64_t pair = 0; pair < p.batch * p.G; pair++)
    for (int64_t l = 0; l < p.L; l++) {
      const int64_t token = (pair / p.G * p.L + NAME(place)(p, pair % p.G, l)) * p.G + pair % p.G;
      auto add = [&](REAL *to, int64_t count, int64_t at) {
        std::fill(to, to + count, (REAL)0);
        for (int64_t s = 0; s < slabs; s++)
          for (int64_t i = 0; i < count; i++) to[i] += work[(pair * slabs + s) * size + at + i];
      };
      add(d.dB + token * p.N, p.N, l * p.N);
      add(d.dC + token * p.N, p.N, states + l * p.N);
      if (p.ranks) add(d.ddelta + token * p.ranks, p.ranks, 2 * states + l * p.padded);
    }
  return 0;
}
#undef vec
