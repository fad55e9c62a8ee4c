// Panels of a pair move for one instruction set; included by sweep.cpp once for each, with these macros set:
//   NAMESPACE, TARGET (a function attribute), BYTES (of a vector), ROWS and VECTORS (of a register tile).
//
// A panel is a small matrix product, law [size, size] times in [size, WIDTH], whose columns are pieces of lines: in row
// x piece j holds `length` numbers of the values from ranks[j][x] * columns + shift on. They are copied in, multiplied,
// and copied back to where they were.

namespace NAMESPACE {

template <class T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(BYTES), may_alias));
  static constexpr int count = BYTES / sizeof(T);
};

template <class T, int R, int V>
TARGET static inline __attribute__((always_inline)) void tile(const T* law, int size, int begin, int end, const T* in,
                                                              T* out) {
  typedef typename Lanes<T>::Vector Vector;
  constexpr int stride = PANEL_BYTES / BYTES;
  const Vector* source = reinterpret_cast<const Vector*>(in);
  Vector* target = reinterpret_cast<Vector*>(out);
  Vector sum[R][V] = {};
  for (int y = begin; y < end; ++y)
    for (int i = 0; i < R; ++i)
      for (int c = 0; c < V; ++c) sum[i][c] += law[static_cast<int64_t>(i) * size + y] * source[y * stride + c];
  for (int i = 0; i < R; ++i)
    for (int c = 0; c < V; ++c) target[i * stride + c] = sum[i][c];
}

// Rows x, ..., x + R - 1 of V vectors, between the first and the last entry of their laws that is not zero.
template <class T, int R, int V>
TARGET static inline __attribute__((always_inline)) void rows(const Panel<T>& panel, int x, const T* in, T* out) {
  int begin = panel.size, end = 0;
  for (int i = x; i < x + R; ++i) {
    begin = std::min(begin, panel.band[2 * i]);
    end = std::max(end, panel.band[2 * i + 1]);
  }
  const T* law = panel.law + static_cast<int64_t>(x) * panel.size;
  tile<T, R, V>(law, panel.size, begin, end, in, out + static_cast<int64_t>(x) * (PANEL_BYTES / sizeof(T)));
}

template <class T, int R, int V>
TARGET static void last_rows(const Panel<T>& panel, int x, const T* in, T* out) {
  if constexpr (R > 0) {
    if (panel.size - x == R) return rows<T, R, V>(panel, x, in, out);
    last_rows<T, R - 1, V>(panel, x, in, out);
  }
}

template <class T, int V>
TARGET static void strip(const Panel<T>& panel, const T* in, T* out) {
  int x = 0;
  for (; x + ROWS <= panel.size; x += ROWS) rows<T, ROWS, V>(panel, x, in, out);
  last_rows<T, ROWS - 1, V>(panel, x, in, out);
}

template <class T, int V>
TARGET static void last_strip(const Panel<T>& panel, int vectors, const T* in, T* out) {
  if constexpr (V > 0) {
    if (vectors == V) return strip<T, V>(panel, in, out);
    last_strip<T, V - 1>(panel, vectors, in, out);
  }
}

// Copy pieces of LENGTH numbers, or of their own lengths where LENGTH is 0, into the panel or back.
template <class T, int LENGTH, bool IN>
TARGET static void copy(const Panel<T>& panel, T* cells) {
  constexpr int width = PANEL_BYTES / sizeof(T);
  const int size = panel.size, pieces = panel.pieces, stride = panel.row_stride;
  const int64_t columns = panel.columns;
  const Piece* const piece = panel.piece;
  T* const values = panel.values;
  for (int x = 0; x < size; ++x) {
    const int32_t* rank = panel.ranks + x;
    for (int j = 0; j < pieces; ++j, rank += stride) {
      T* value = values + *rank * columns + piece[j].shift;
      T* cell = cells + x * width + (LENGTH ? j * LENGTH : piece[j].column);
      memcpy(IN ? cell : value, IN ? value : cell, sizeof(T) * (LENGTH ? LENGTH : piece[j].length));
    }
  }
}

template <class T, bool IN>
TARGET static void copy_pieces(const Panel<T>& panel, T* cells) {
  switch (panel.common_length) {
    case 1: return copy<T, 1, IN>(panel, cells);
    case 2: return copy<T, 2, IN>(panel, cells);
    case 3: return copy<T, 3, IN>(panel, cells);
    case 4: return copy<T, 4, IN>(panel, cells);
    case 5: return copy<T, 5, IN>(panel, cells);
    case 6: return copy<T, 6, IN>(panel, cells);
    case 8: return copy<T, 8, IN>(panel, cells);
    default: return copy<T, 0, IN>(panel, cells);
  }
}

template <class T>
TARGET static void multiply(const Panel<T>& panel) {
  constexpr int lanes = Lanes<T>::count;
  const int vectors = (panel.filled + lanes - 1) / lanes;
  copy_pieces<T, true>(panel, panel.in);
  int v = 0;
  for (; v + VECTORS <= vectors; v += VECTORS) strip<T, VECTORS>(panel, panel.in + v * lanes, panel.out + v * lanes);
  last_strip<T, VECTORS - 1>(panel, vectors - v, panel.in + v * lanes, panel.out + v * lanes);
  copy_pieces<T, false>(panel, panel.out);
}

}  // namespace NAMESPACE
