// The CPU kernels in C++: the same codes as s2a_core/kernels/reference, in one or two passes over memory.
//
// Only a C interface and ATen's thread pool, so that it compiles in a few seconds. Compiled with -ffp-contract=off:
// a fused multiply-add would round differently from the reference. dtype: 0 fp32, 1 bf16, 2 fp16.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__BMI2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t kBlock = 2048;  // elements of a block: its codes and floats stay in first-level cache
constexpr int64_t kGrain = 1 << 15;
constexpr uint16_t kNaN = 0x7FC0;

struct BF16 { uint16_t bits; };
using F16 = _Float16;

inline float load(float v) { return v; }
inline float load(F16 v) { return static_cast<float>(v); }
inline float load(BF16 v) {
  uint32_t w = static_cast<uint32_t>(v.bits) << 16;
  float f;
  std::memcpy(&f, &w, 4);
  return f;
}
inline void store(float& to, float v) { to = v; }
inline void store(F16& to, float v) { to = static_cast<F16>(v); }
inline void store(BF16& to, float v) {
  uint32_t w;
  std::memcpy(&w, &v, 4);
  uint32_t rounded = (w + 0x7FFF + ((w >> 16) & 1)) >> 16;  // to nearest, ties to even
  to.bits = v != v ? kNaN : static_cast<uint16_t>(rounded);
}

// ---------------------------------------------------------------- bit stream
constexpr uint64_t field_mask(int bits) {
  return (0x0101010101010101ULL) * ((1ULL << bits) - 1);
}

inline uint64_t close_up(uint64_t w, int bits) {  // 8 codes in 8 bytes -> 8 * bits bits
#if defined(__BMI2__)
  return _pext_u64(w, field_mask(bits));
#else
  uint64_t out = 0;
  for (int i = 0; i < 8; ++i) out |= ((w >> (8 * i)) & ((1ULL << bits) - 1)) << (bits * i);
  return out;
#endif
}

inline uint64_t spread(uint64_t w, int bits) {
#if defined(__BMI2__)
  return _pdep_u64(w, field_mask(bits));
#else
  uint64_t out = 0;
  for (int i = 0; i < 8; ++i) out |= ((w >> (bits * i)) & ((1ULL << bits) - 1)) << (8 * i);
  return out;
#endif
}

// codes [count] -> bytes; `count` may be no multiple of 8 only at the end of a stream
void pack_codes(const uint8_t* codes, int64_t count, int bits, uint8_t* out) {
  if (bits == 8) { std::memcpy(out, codes, count); return; }
  int64_t groups = count / 8;
  for (int64_t g = 0; g < groups; ++g) {
    uint64_t w;
    std::memcpy(&w, codes + 8 * g, 8);
    w = close_up(w, bits);
    std::memcpy(out + bits * g, &w, bits);
  }
  if (int64_t rest = count % 8) {
    uint64_t w = 0;
    std::memcpy(&w, codes + 8 * groups, rest);
    w = close_up(w, bits);
    std::memcpy(out + bits * groups, &w, (rest * bits + 7) / 8);
  }
}

// codes first .. first + count - 1 of a stream of `total`; buffer holds count + 16 bytes; returns where they begin
const uint8_t* unpack_codes(const uint8_t* packed, int64_t first, int64_t count, int64_t total, int bits, uint8_t* buffer) {
  if (bits == 8) return packed + first;
  int64_t aligned = first / 8 * 8, end = first + count, bytes = (total * bits + 7) / 8;
  const uint8_t* from = packed + aligned * bits / 8;
  int64_t available = bytes - aligned * bits / 8;
  uint8_t* to = buffer;
  for (int64_t i = aligned; i < end; i += 8, to += 8, from += bits, available -= bits) {
    uint64_t w = 0;
    if (available >= 8) std::memcpy(&w, from, 8);
    else std::memcpy(&w, from, std::min<int64_t>(available, bits));
    w = spread(w, bits);
    std::memcpy(to, &w, 8);
  }
  return buffer + (first - aligned);
}

// ---------------------------------------------------------------- groups
struct Groups {  // of a tensor [B, N, C] at `bits` bits and its payload
  int64_t samples, tokens, channels;
  int bits;
  uint8_t* payload;
  int rule = 0;  // how levels lie in a range
  int64_t row_stride = 0;  // of the tensor that is coded, in elements; 0 where its rows follow each other
  int64_t stride() const { return row_stride ? row_stride : channels; }
  int64_t numel() const { return samples * tokens * channels; }
  BF16* scales() const { return reinterpret_cast<BF16*>(payload + ((numel() * bits + 7) / 8 + 1) / 2 * 2); }
  BF16* zeros() const { return scales() + samples * channels; }
  float factor() const { return static_cast<float>((1.0 + 1.0 / 256) / ((1 << bits) - 1)); }
  bool samples_are_aligned() const { return tokens * channels % 8 == 0; }
};

inline int rule_of(int bits) { return bits >= 2 ? 2 : 1; }

// scale and zero of a group, by the rule of reference/channels.py: 1 equal parts, 2 first is a level
void set_statistics(const Groups& g, int64_t group, float first, float low, float high, float bad) {
  BF16 scale{kNaN}, zero{kNaN};
  float range = high - low;
  if (bad == 0.0f && std::isfinite(range)) {
    store(zero, low - std::fabs(low) * (1.0f / 256));
    store(scale, (high - load(zero)) * g.factor());
    if (range > 0.0f) {
      float num = static_cast<float>(1 << g.bits), top = num - 1.0f;
      float step = range * (1.0f / num), anchor = low, k = -0.5f;
      if (g.rule == 2) {
        float below = first - low, above = high - first;
        k = std::min(std::max(std::floor(below / range * num - 0.5f), 0.0f), top);
        float next = std::min(k + 1.0f, top);
        step = std::max(below / (k + 0.5f), above / (top + 0.5f - k));
        float step_next = std::max(below / (next + 0.5f), above / (top + 0.5f - next));
        if (step_next < step) { step = step_next; k = next; }
        anchor = first;
      }
      BF16 fitted;
      store(fitted, step * (1.0f + 1.0f / 256));
      float width = load(fitted);
      if (std::max(std::fabs(low), std::fabs(high)) <= std::max(32.0f, 0.75f * num) * width) {
        scale = fitted;
        store(zero, anchor - k * width);
      }
    }
  }
  g.scales()[group] = scale;
  g.zeros()[group] = zero;
}

template <typename T>
void measure_columns(const T* x, const Groups& g, int64_t sample, int64_t from, int64_t to) {
  int64_t width = to - from;
  std::vector<float> buffer(3 * width);
  float *low = buffer.data(), *high = low + width, *bad = high + width;
  const T* base = x + sample * g.tokens * g.stride() + from;
  for (int64_t c = 0; c < width; ++c) { low[c] = high[c] = load(base[c]); bad[c] = low[c] * 0.0f; }
  for (int64_t n = 1; n < g.tokens; ++n) {
    const T* row = base + n * g.stride();
    for (int64_t c = 0; c < width; ++c) {
      float v = load(row[c]);
      low[c] = v < low[c] ? v : low[c];
      high[c] = v > high[c] ? v : high[c];
      bad[c] += v * 0.0f;  // NaN once a NaN or an infinity passed
    }
  }
  for (int64_t c = 0; c < width; ++c) set_statistics(g, sample * g.channels + from + c, load(base[c]), low[c], high[c], bad[c]);
}

template <typename T>
void measure_line(const T* x, const Groups& g, int64_t sample) {  // channels == 1
  constexpr int kLanes = 16;
  const T* row = x + sample * g.tokens;
  float low[kLanes], high[kLanes], bad[kLanes] = {};
  for (int j = 0; j < kLanes; ++j) low[j] = high[j] = load(row[0]);
  bad[0] = low[0] * 0.0f;
  int64_t n = 0;
  for (; n + kLanes <= g.tokens; n += kLanes)
    for (int j = 0; j < kLanes; ++j) {
      float v = load(row[n + j]);
      low[j] = v < low[j] ? v : low[j];
      high[j] = v > high[j] ? v : high[j];
      bad[j] += v * 0.0f;
    }
  for (; n < g.tokens; ++n) {
    float v = load(row[n]);
    low[0] = v < low[0] ? v : low[0];
    high[0] = v > high[0] ? v : high[0];
    bad[0] += v * 0.0f;
  }
  for (int j = 1; j < kLanes; ++j) {
    low[0] = low[j] < low[0] ? low[j] : low[0];
    high[0] = high[j] > high[0] ? high[j] : high[0];
    bad[0] += bad[j];
  }
  set_statistics(g, sample, load(row[0]), low[0], high[0], bad[0]);
}

inline float inverse(float scale) { return scale >= 0x1p-126f ? 1.0f / scale : 0.0f; }

inline uint8_t code_of(float v, float top) {
  v = v > 0.0f ? v : 0.0f;  // NaN becomes 0
  v = v < top ? v : top;
  return static_cast<uint8_t>(static_cast<int32_t>(v));
}

// codes of elements first .. last - 1 of x (x points at element 0), all within one sample
template <typename T>
void encode(const T* x, const Groups& g, int64_t first, int64_t last, uint8_t* codes) {
  const float top = static_cast<float>((1 << g.bits) - 0.5);
  int64_t sample = first / (g.tokens * g.channels), C = g.channels;
  std::vector<float> statistics(2 * C);
  float *zero = statistics.data(), *inv = zero + C;
  for (int64_t c = 0; c < C; ++c) {
    zero[c] = load(g.zeros()[sample * C + c]);
    inv[c] = inverse(load(g.scales()[sample * C + c]));
  }
  for (int64_t i = first; i < last;) {
    int64_t c = C == 1 ? 0 : i % C, count = std::min(last - i, C == 1 ? kBlock : C - c);
    const T* from = C == 1 ? x + i : x + i / C * g.stride() + c;
    uint8_t* to = codes + (i - first);
    if (C == 1) {
      float z = zero[0], s = inv[0];
      for (int64_t j = 0; j < count; ++j) to[j] = code_of((load(from[j]) - z) * s + 0.5f, top);
    } else {
      const float *z = zero + c, *s = inv + c;
      for (int64_t j = 0; j < count; ++j) to[j] = code_of((load(from[j]) - z[j]) * s[j] + 0.5f, top);
    }
    i += count;
  }
}

// pack one aligned sample in blocks of whole rows
template <typename T>
void encode_sample(const T* x, const Groups& g, int64_t sample) {
  int64_t size = g.tokens * g.channels, first = sample * size;
  std::vector<uint8_t> codes(size);
  encode(x, g, first, first + size, codes.data());
  pack_codes(codes.data(), size, g.bits, g.payload + first * g.bits / 8);
}

template <typename T>
void quantize(const T* x, const Groups& g) {
  int64_t size = g.tokens * g.channels;
  int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(size, 1));
  auto measure = [&](int64_t sample) {
    if (g.channels == 1) measure_line(x, g, sample);
    else for (int64_t c = 0; c < g.channels; c += 1024) measure_columns(x, g, sample, c, std::min(c + 1024, g.channels));
  };
  if (g.samples_are_aligned()) {
    at::parallel_for(0, g.samples, grain, [&](int64_t b, int64_t end) {
      for (; b < end; ++b) { measure(b); encode_sample(x, g, b); }
    });
    return;
  }
  std::vector<uint8_t> codes(g.numel());
  at::parallel_for(0, g.samples, grain, [&](int64_t b, int64_t end) {
    for (; b < end; ++b) { measure(b); encode(x, g, b * size, (b + 1) * size, codes.data() + b * size); }
  });
  pack_codes(codes.data(), g.numel(), g.bits, g.payload);
}

// zero + code * scale of elements first .. first + count - 1, all in one sample; buffer holds count + 16 bytes
template <typename T>
void decode(const Groups& g, const float* zero, const float* scale, int64_t first, int64_t count, uint8_t* buffer, T* out) {
  const uint8_t* codes = unpack_codes(g.payload, first, count, g.numel(), g.bits, buffer);
  int64_t C = g.channels;
  for (int64_t i = 0; i < count;) {
    int64_t c = C == 1 ? 0 : (first + i) % C, run = std::min(count - i, C == 1 ? count : C - c);
    T* to = out + i;
    const uint8_t* code = codes + i;
    if (C == 1) {
      float z = zero[0], s = scale[0];
      for (int64_t j = 0; j < run; ++j) store(to[j], static_cast<float>(code[j]) * s + z);
    } else {
      const float *z = zero + c, *s = scale + c;
      for (int64_t j = 0; j < run; ++j) store(to[j], static_cast<float>(code[j]) * s[j] + z[j]);
    }
    i += run;
  }
}

void read_statistics(const Groups& g, int64_t sample, float* zero, float* scale) {
  for (int64_t c = 0; c < g.channels; ++c) {
    zero[c] = load(g.zeros()[sample * g.channels + c]);
    scale[c] = load(g.scales()[sample * g.channels + c]);
  }
}

template <typename T>
void dequantize(const Groups& g, T* out) {
  int64_t size = g.tokens * g.channels;
  at::parallel_for(0, g.samples, std::max<int64_t>(1, kGrain / std::max<int64_t>(size, 1)), [&](int64_t b, int64_t end) {
    std::vector<float> statistics(2 * g.channels);
    std::vector<uint8_t> buffer(kBlock + 16);
    for (; b < end; ++b) {
      read_statistics(g, b, statistics.data(), statistics.data() + g.channels);
      for (int64_t i = b * size; i < (b + 1) * size; i += kBlock)
        decode(g, statistics.data(), statistics.data() + g.channels, i, std::min(kBlock, (b + 1) * size - i), buffer.data(), out + i);
    }
  });
}

// ---------------------------------------------------------------- weights
// level[code] * scale of each group of consecutive weights; payload: codes of 4 bits, then bf16 scales
template <typename T>
void decode_nf4(const uint8_t* payload, const float* levels, int64_t groups, int64_t group, T* out) {
  const BF16* scales = reinterpret_cast<const BF16*>(payload + (groups * group + 3) / 4 * 2);
  at::parallel_for(0, groups, std::max<int64_t>(1, kGrain / std::max<int64_t>(group, 1)), [&](int64_t g, int64_t end) {
    for (; g < end; ++g) {
      T values[16];
      for (int i = 0; i < 16; ++i) store(values[i], levels[i] * load(scales[g]));
      int64_t i = g * group, last = i + group;
      if (i < last && i % 2) { out[i] = values[payload[i / 2] >> 4]; ++i; }
      for (; i + 1 < last; i += 2) {
        uint8_t pair = payload[i / 2];
        out[i] = values[pair & 15];
        out[i + 1] = values[pair >> 4];
      }
      if (i < last) out[i] = values[payload[i / 2] & 15];
    }
  });
}

// ---------------------------------------------------------------- norms
inline float sum(const float* x, int64_t n) {
  constexpr int kLanes = 32;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) for (int j = 0; j < kLanes; ++j) lanes[j] += x[i + j];
  float total = 0;
  for (int j = 0; j < kLanes; ++j) total += lanes[j];
  for (; i < n; ++i) total += x[i];
  return total;
}

inline float dot(const float* x, const float* y, int64_t n) {
  constexpr int kLanes = 32;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) for (int j = 0; j < kLanes; ++j) lanes[j] += x[i + j] * y[i + j];
  float total = 0;
  for (int j = 0; j < kLanes; ++j) total += lanes[j];
  for (; i < n; ++i) total += x[i] * y[i];
  return total;
}

template <typename T, typename Y>
void norm_forward(const T* x, const float* w, const float* bias, float eps, const Groups& g, bool centre, Y* y, float* rstd) {
  int64_t C = g.channels, size = g.tokens * C;
  std::vector<uint8_t> all(g.samples_are_aligned() ? 0 : g.numel());
  at::parallel_for(0, g.samples, std::max<int64_t>(1, kGrain / std::max<int64_t>(size, 1)), [&](int64_t b, int64_t end) {
    std::vector<float> normalized(size);
    std::vector<uint8_t> codes(all.empty() ? size : 0);
    for (; b < end; ++b) {
      for (int64_t n = 0; n < g.tokens; ++n) {
        const T* from = x + b * size + n * C;
        Y* to = y + b * size + n * C;
        float* row = normalized.data() + n * C;
        for (int64_t c = 0; c < C; ++c) row[c] = load(from[c]);
        if (centre) {
          float mean = sum(row, C) / static_cast<float>(C);
          for (int64_t c = 0; c < C; ++c) row[c] -= mean;
        }
        float r = 1.0f / std::sqrt(dot(row, row, C) / static_cast<float>(C) + eps);
        rstd[b * g.tokens + n] = r;
        for (int64_t c = 0; c < C; ++c) row[c] *= r;
        if (w && bias) for (int64_t c = 0; c < C; ++c) store(to[c], row[c] * w[c] + bias[c]);
        else if (w) for (int64_t c = 0; c < C; ++c) store(to[c], row[c] * w[c]);
        else for (int64_t c = 0; c < C; ++c) store(to[c], row[c] + (bias ? bias[c] : 0.0f));
      }
      // the sample is still in cache: its statistics, then its codes
      Groups one{1, g.tokens, C, g.bits, nullptr, rule_of(g.bits)};
      std::vector<uint8_t> payload((size * g.bits + 7) / 8 + 1 + 4 * C);
      one.payload = payload.data();
      if (C == 1) measure_line(normalized.data(), one, 0);
      else measure_columns(normalized.data(), one, 0, 0, C);
      std::memcpy(g.scales() + b * C, one.scales(), 2 * C);
      std::memcpy(g.zeros() + b * C, one.zeros(), 2 * C);
      uint8_t* to = all.empty() ? codes.data() : all.data() + b * size;
      encode(normalized.data(), one, 0, size, to);
      if (all.empty()) pack_codes(to, size, g.bits, g.payload + b * size * g.bits / 8);
    }
  });
  if (!all.empty()) pack_codes(all.data(), g.numel(), g.bits, g.payload);
}

template <typename T>
void norm_backward(const T* dy, const float* rstd, const float* w, const Groups& g, bool centre, T* dx, float* dw, float* db) {
  constexpr int64_t kRows = 64;  // of one slice: sums are added in the order of slices, whatever the threads do
  int64_t C = g.channels, rows = g.samples * g.tokens, slices = (rows + kRows - 1) / kRows;
  std::vector<float> partial(slices * C * (dw ? 2 : 1), 0.0f);
  at::parallel_for(0, slices, std::max<int64_t>(1, kGrain / (kRows * C)), [&](int64_t s, int64_t end) {
    std::vector<float> floats(4 * C);
    float *zero = floats.data(), *scale = zero + C, *xhat = scale + C, *grad = xhat + C;
    std::vector<uint8_t> buffer(C + 16);
    for (; s < end; ++s) {
      float *my_db = partial.data() + s * C, *my_dw = dw ? partial.data() + (slices + s) * C : nullptr;
      int64_t sample = -1;
      for (int64_t row = s * kRows; row < std::min(rows, (s + 1) * kRows); ++row) {
        if (row / g.tokens != sample) read_statistics(g, sample = row / g.tokens, zero, scale);
        decode(g, zero, scale, row * C, C, buffer.data(), xhat);
        const T* from = dy + row * C;
        T* to = dx + row * C;
        for (int64_t c = 0; c < C; ++c) { grad[c] = load(from[c]); my_db[c] += grad[c]; }
        if (my_dw) for (int64_t c = 0; c < C; ++c) my_dw[c] += grad[c] * xhat[c];
        if (w) for (int64_t c = 0; c < C; ++c) grad[c] *= w[c];
        float projection = dot(grad, xhat, C) / static_cast<float>(C), r = rstd[row];
        float mean = centre ? sum(grad, C) / static_cast<float>(C) : 0.0f;
        for (int64_t c = 0; c < C; ++c) store(to[c], (grad[c] - xhat[c] * projection - mean) * r);
      }
    }
  });
  for (int64_t s = 0; s < slices; ++s)
    for (int64_t c = 0; c < C; ++c) {
      db[c] += partial[s * C + c];
      if (dw) dw[c] += partial[(slices + s) * C + c];
    }
}

// ---------------------------------------------------------------- table indices
#if defined(__AVX512F__)
inline __m512 load16(const float* x) { return _mm512_loadu_ps(x); }
inline __m512 load16(const F16* x) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x))); }
inline __m512 load16(const BF16* x) {
  __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
#endif

template <int kBorders, typename T>
void count_borders(const T* x, int64_t n, const float* borders, uint8_t* codes) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) {
    __m512 v = load16(x + i);
    __m512i count = _mm512_setzero_si512();
    for (int k = 0; k < kBorders; ++k) {
      __mmask16 above = _mm512_cmp_ps_mask(v, _mm512_set1_ps(borders[k]), _CMP_GE_OQ);
      count = _mm512_mask_add_epi32(count, above, count, _mm512_set1_epi32(1));
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), _mm512_cvtepi32_epi8(count));
  }
#endif
  for (; i < n; ++i) {
    float v = load(x[i]);
    int32_t code = 0;
    for (int k = 0; k < kBorders; ++k) code += v >= borders[k] ? 1 : 0;
    codes[i] = static_cast<uint8_t>(code);
  }
}

template <typename T>
void search_borders(const T* x, int64_t n, const float* borders, int bits, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    float v = load(x[i]);
    int code = 0;
    for (int step = 1 << (bits - 1); step; step >>= 1) code += v >= borders[code + step - 1] ? step : 0;
    codes[i] = static_cast<uint8_t>(code);
  }
}

template <typename T>
void index_blocks(const T* x, int64_t n, const float* borders, int bits, float low, float high, uint8_t* out) {
  at::parallel_for(0, (n + kBlock - 1) / kBlock, kGrain / kBlock, [&](int64_t block, int64_t end) {
    alignas(64) uint8_t codes[kBlock];
    for (; block < end; ++block) {
      int64_t first = block * kBlock, count = std::min(kBlock, n - first);
      const T* from = x + first;
      if (!borders) for (int64_t i = 0; i < count; ++i) { float v = load(from[i]); codes[i] = (v > low) & !(v >= high); }
      else if (bits == 1) count_borders<1>(from, count, borders, codes);
      else if (bits == 2) count_borders<3>(from, count, borders, codes);
      else if (bits == 3) count_borders<7>(from, count, borders, codes);
      else if (bits == 4) count_borders<15>(from, count, borders, codes);
      else search_borders(from, count, borders, bits, codes);
      pack_codes(codes, count, bits, out + first * bits / 8);
    }
  });
}

template <typename T>
void scale_by_levels(const T* dy, int64_t n, const uint8_t* packed, int bits, const float* levels, T* dx) {
  at::parallel_for(0, (n + kBlock - 1) / kBlock, kGrain / kBlock, [&](int64_t block, int64_t end) {
    alignas(64) uint8_t buffer[kBlock + 16];
    alignas(64) float factors[kBlock];
    for (; block < end; ++block) {
      int64_t first = block * kBlock, count = std::min(kBlock, n - first), i = 0;
      const uint8_t* codes = unpack_codes(packed, first, count, n, bits, buffer);
#if defined(__AVX512F__)
      if (bits <= 4) {
        alignas(64) float table[16] = {};
        std::memcpy(table, levels, sizeof(float) << bits);
        __m512 t = _mm512_load_ps(table);
        for (; i + 16 <= count; i += 16) {
          __m512i k = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i)));
          _mm512_store_ps(factors + i, _mm512_permutexvar_ps(k, t));
        }
      }
#endif
      for (; i < count; ++i) factors[i] = levels[codes[i]];
      const T* from = dy + first;
      T* to = dx + first;
      // a slope of 0 gives 0 even where dy is infinite, as at sqrt(relu(x))
      for (int64_t j = 0; j < count; ++j) store(to[j], factors[j] == 0.0f ? 0.0f : load(from[j]) * factors[j]);
    }
  });
}

// ---------------------------------------------------------------- max-pooling
struct Pool {
  int64_t planes, channels, H, W, OH, OW;  // planes = samples * channels
  int64_t kh, kw, sh, sw, ph, pw, dh, dw;
};

// offsets of the maxima of one plane, row-major; the first maximum or the last NaN, as PyTorch
template <typename T>
void pool_plane(const T* x, const Pool& p, T* y, uint8_t* codes) {
  for (int64_t oh = 0; oh < p.OH; ++oh)
    for (int64_t ow = 0; ow < p.OW; ++ow) {
      float best = 0;
      int code = -1;
      for (int64_t i = 0; i < p.kh; ++i) {
        int64_t h = oh * p.sh - p.ph + i * p.dh;
        if (h < 0 || h >= p.H) continue;
        for (int64_t j = 0; j < p.kw; ++j) {
          int64_t w = ow * p.sw - p.pw + j * p.dw;
          if (w < 0 || w >= p.W) continue;
          float v = load(x[h * p.W + w]);
          if (v > best || v != v || code < 0) { best = v; code = static_cast<int>(i * p.kw + j); }
        }
      }
      store(y[oh * p.OW + ow], best);
      codes[oh * p.OW + ow] = static_cast<uint8_t>(code < 0 ? 0 : code);
    }
}

// the same of all channels of one sample that lies as [H, W, C]; y too, codes as [C, OH, OW]
template <typename T>
void pool_sample(const T* x, const Pool& p, T* y, uint8_t* codes) {
  int64_t C = p.channels;
  std::vector<float> best(C);
  std::vector<int32_t> code(C);
  for (int64_t oh = 0; oh < p.OH; ++oh)
    for (int64_t ow = 0; ow < p.OW; ++ow) {
      std::fill(code.begin(), code.end(), -1);
      for (int64_t i = 0; i < p.kh; ++i) {
        int64_t h = oh * p.sh - p.ph + i * p.dh;
        if (h < 0 || h >= p.H) continue;
        for (int64_t j = 0; j < p.kw; ++j) {
          int64_t w = ow * p.sw - p.pw + j * p.dw;
          if (w < 0 || w >= p.W) continue;
          const T* from = x + (h * p.W + w) * C;
          int32_t k = static_cast<int32_t>(i * p.kw + j);
          for (int64_t c = 0; c < C; ++c) {
            float v = load(from[c]);
            bool better = v > best[c] || v != v || code[c] < 0;
            best[c] = better ? v : best[c];
            code[c] = better ? k : code[c];
          }
        }
      }
      int64_t at = oh * p.OW + ow;
      for (int64_t c = 0; c < C; ++c) store(y[at * C + c], best[c]);
      for (int64_t c = 0; c < C; ++c) codes[c * p.OH * p.OW + at] = static_cast<uint8_t>(code[c] < 0 ? 0 : code[c]);
    }
}

template <typename T>
void pool_forward(const T* x, const Pool& p, bool channels_last, int bits, T* y, uint8_t* payload) {
  int64_t in = p.H * p.W, out = p.OH * p.OW, step = channels_last ? p.channels : 1;
  std::vector<uint8_t> codes(p.planes * out);
  at::parallel_for(0, p.planes / step, std::max<int64_t>(1, kGrain / (step * out)), [&](int64_t i, int64_t end) {
    for (; i < end; ++i) {
      int64_t first = i * step;
      if (channels_last) pool_sample(x + first * in, p, y + first * out, codes.data() + first * out);
      else pool_plane(x + first * in, p, y + first * out, codes.data() + first * out);
    }
  });
  pack_codes(codes.data(), p.planes * out, bits, payload);
}

template <typename T>
void pool_backward(const T* dy, const Pool& p, int bits, const uint8_t* payload, T* dx) {
  int64_t in = p.H * p.W, out = p.OH * p.OW;
  at::parallel_for(0, p.planes, std::max<int64_t>(1, kGrain / out), [&](int64_t i, int64_t end) {
    std::vector<uint8_t> buffer(out + 16);
    std::vector<float> sums(in);
    for (; i < end; ++i) {
      const uint8_t* codes = unpack_codes(payload, i * out, out, p.planes * out, bits, buffer.data());
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (int64_t oh = 0; oh < p.OH; ++oh)
        for (int64_t ow = 0; ow < p.OW; ++ow) {
          int64_t at = oh * p.OW + ow, k = codes[at];
          int64_t h = oh * p.sh - p.ph + k / p.kw * p.dh, w = ow * p.sw - p.pw + k % p.kw * p.dw;
          if (h >= 0 && h < p.H && w >= 0 && w < p.W) sums[h * p.W + w] += load(dy[i * out + at]);
        }
      for (int64_t j = 0; j < in; ++j) store(dx[i * in + j], sums[j]);
    }
  });
}

}  // namespace

#define BY_DTYPE(dtype, pointer, ...)                                                            \
  switch (dtype) {                                                                               \
    case 0: { using T = float; auto p = reinterpret_cast<T*>(pointer); __VA_ARGS__; break; }     \
    case 1: { using T = BF16; auto p = reinterpret_cast<T*>(pointer); __VA_ARGS__; break; }      \
    default: { using T = F16; auto p = reinterpret_cast<T*>(pointer); __VA_ARGS__; break; }      \
  }

extern "C" {

void s2a_pack(const uint8_t* codes, int64_t n, int bits, uint8_t* out) {
  at::parallel_for(0, (n + kBlock - 1) / kBlock, kGrain / kBlock, [&](int64_t b, int64_t end) {
    int64_t first = b * kBlock, last = std::min(n, end * kBlock);
    pack_codes(codes + first, last - first, bits, out + first * bits / 8);
  });
}

void s2a_unpack(const uint8_t* packed, int64_t n, int bits, uint8_t* out) {
  at::parallel_for(0, (n + kBlock - 1) / kBlock, kGrain / kBlock, [&](int64_t b, int64_t end) {
    uint8_t buffer[kBlock + 16];
    for (; b < end; ++b) {
      int64_t first = b * kBlock, count = std::min(kBlock, n - first);
      std::memcpy(out + first, unpack_codes(packed, first, count, n, bits, buffer), count);
    }
  });
}

void s2a_quantize(void* x, int dtype, int64_t B, int64_t N, int64_t C, int64_t row_stride, int bits,
                  uint8_t* payload) {
  Groups g{B, N, C, bits, payload, rule_of(bits), row_stride};
  BY_DTYPE(dtype, x, quantize(p, g))
}

void s2a_dequantize(uint8_t* payload, int64_t B, int64_t N, int64_t C, int bits, int dtype, void* out) {
  Groups g{B, N, C, bits, payload};
  BY_DTYPE(dtype, out, dequantize(g, p))
}

void s2a_nf4_decode(const uint8_t* payload, const float* levels, int64_t groups, int64_t group, int dtype, void* out) {
  BY_DTYPE(dtype, out, decode_nf4(payload, levels, groups, group, p))
}

void s2a_norm_fwd(void* x, int dtype, const float* w, const float* bias, float eps, int64_t B, int64_t N, int64_t C, int bits,
                  int centre, void* y, int y_dtype, uint8_t* payload, float* rstd) {
  Groups g{B, N, C, bits, payload};
  BY_DTYPE(dtype, x, {
    auto from = p;
    BY_DTYPE(y_dtype, y, norm_forward(from, w, bias, eps, g, centre != 0, p, rstd))
  })
}

void s2a_norm_bwd(void* dy, int dtype, uint8_t* payload, const float* rstd, const float* w, int64_t B, int64_t N, int64_t C,
                  int bits, int centre, void* dx, float* dw, float* db) {
  Groups g{B, N, C, bits, payload};
  BY_DTYPE(dtype, dy, norm_backward(p, rstd, w, g, centre != 0, reinterpret_cast<T*>(dx), dw, db))
}

void s2a_index(void* x, int dtype, int64_t n, const float* borders, int bits, float low, float high, uint8_t* out) {
  BY_DTYPE(dtype, x, index_blocks(p, n, borders, bits, low, high, out))
}

void s2a_scale(void* dy, int dtype, int64_t n, const uint8_t* packed, int bits, const float* levels, void* dx) {
  BY_DTYPE(dtype, dy, scale_by_levels(p, n, packed, bits, levels, reinterpret_cast<T*>(dx)))
}

// sizes: planes, channels, H, W, OH, OW, then kernel, stride, padding and dilation, each height then width
void s2a_maxpool_fwd(void* x, int dtype, const int64_t* sizes, int channels_last, int bits, void* y, uint8_t* payload) {
  Pool pool;
  std::memcpy(&pool, sizes, sizeof(pool));
  BY_DTYPE(dtype, x, pool_forward(p, pool, channels_last != 0, bits, reinterpret_cast<T*>(y), payload))
}

void s2a_maxpool_bwd(void* dy, int dtype, const int64_t* sizes, int bits, const uint8_t* payload, void* dx) {
  Pool pool;
  std::memcpy(&pool, sizes, sizeof(pool));
  BY_DTYPE(dtype, dy, pool_backward(p, pool, bits, payload, reinterpret_cast<T*>(dx)))
}

}  // extern "C"
