// From an engine's particles to edges: all pairs of few atoms, or a list with a skin that is searched
// anew where an atom has moved by half of it or the box is another. Nothing waits for the host: what
// is not stale is passed over, and what has no room becomes edges that are not numbers.
#pragma once

#include "device.cuh"

namespace idle_md::cuda {

IDLE_MD_DEVICE double dot(const double* a, const double* b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

IDLE_MD_DEVICE void cross(const double* a, const double* b, double* out) {
  for (int k = 0; k < 3; ++k) {
    const int next = (k + 1) % 3, last = (k + 2) % 3;
    out[k] = a[next] * b[last] - a[last] * b[next];
  }
}

IDLE_MD_DEVICE void scale(double* a, double factor) {
  for (int k = 0; k < 3; ++k) a[k] *= factor;
}

// Positions in angstrom, and whether the list is still good.
template <class Position>
IDLE_MD_DEVICE void move_points(const ListArguments& args) {
  const int n = thread_of_grid();
  bool is_stale = false;
  if (n == 0) {
    is_stale = *args.problem != 0;
    for (int k = 0; args.box != nullptr && k < 9; ++k)
      is_stale = is_stale || !(double(static_cast<const Position*>(args.box)[k]) * args.unit == args.cell[k]);
  }
  if (n < args.atoms) {
    const Position* from = static_cast<const Position*>(args.positions) + 3 * args.chosen[n];
    double moved = 0.0;
    for (int k = 0; k < 3; ++k) {
      const double now = double(from[k]) * args.unit, step = now - args.before[3L * n + k];
      args.points[3L * n + k] = now;
      moved += step * step;
    }
    is_stale = is_stale || !(moved <= args.moved * args.moved);
  }
  if (is_stale) atomicOr(args.stale, 1);
}

// Lattice vectors, where those of open directions are unit vectors normal to the periodic ones.
IDLE_MD_DEVICE void span_open_directions(const int* periodic, double* rows) {
  const int directions = periodic[0] + periodic[1] + periodic[2];
  for (int k = 0; k < 3; ++k) {
    double *own = rows + 3 * k, *next = rows + 3 * ((k + 1) % 3), *last = rows + 3 * ((k + 2) % 3);
    if (directions == 0)
      for (int x = 0; x < 3; ++x) own[x] = x == k;
    if (directions == 1 && periodic[k]) {
      const bool along_x = fabs(own[0]) > 0.5 * sqrt(dot(own, own));
      const double other[3] = {along_x ? 0.0 : 1.0, along_x ? 1.0 : 0.0, 0.0};
      cross(own, other, next);
      scale(next, 1.0 / sqrt(dot(next, next)));
      cross(own, next, last);
      scale(last, 1.0 / sqrt(dot(last, last)));
    }
    if (directions == 2 && !periodic[k]) {
      cross(next, last, own);
      scale(own, 1.0 / sqrt(dot(own, own)));
    }
  }
}

// Bins along the directions, as wide as the reach if there may be so many.
IDLE_MD_DEVICE void lay_bins(const ListArguments& args, const double* low, const double* high) {
  constexpr double flattest = 1e-6, slack = 1e-6, widest = 1e8;
  Grid& grid = *args.grid;
  double plane[3], brick = 1.0, spacing[3];
  cross(grid.rows, grid.rows + 3, plane);
  const double volume = dot(grid.rows + 6, plane);
  for (int k = 0; k < 3; ++k) brick *= sqrt(dot(grid.rows + 3 * k, grid.rows + 3 * k));
  bool is_bad = !(fabs(volume) > flattest * brick) || !(brick < 1e300);
  for (int k = 0; k < 3; ++k) {
    double* reciprocal = grid.reciprocal + 3 * k;
    cross(grid.rows + 3 * ((k + 1) % 3), grid.rows + 3 * ((k + 2) % 3), reciprocal);
    scale(reciprocal, 1.0 / volume);
    spacing[k] = 1.0 / sqrt(dot(reciprocal, reciprocal));
    const double extent = args.periodic[k] ? spacing[k] : high[k] - low[k];
    is_bad = is_bad || !(extent < widest);
    grid.origin[k] = args.periodic[k] ? 0.0 : low[k];
    grid.bins[k] = is_bad ? 1 : larger(1, int(fmin(extent / (args.reach * (1.0 + slack)), 1e6)));
  }
  while (double(grid.bins[0]) * grid.bins[1] * grid.bins[2] > args.most_bins) {
    int most = 0;
    for (int k = 1; k < 3; ++k)
      if (grid.bins[k] > grid.bins[most]) most = k;
    grid.bins[most] = (grid.bins[most] + 1) / 2;
  }
  for (int k = 0; k < 3; ++k) {
    const double extent = args.periodic[k] ? 1.0 : fmax(high[k] - low[k], 1.0);
    grid.per_bin[k] = grid.bins[k] / extent;
    const double across = args.periodic[k] ? spacing[k] : extent;
    const double reach = ceil(args.reach * (1.0 + slack) * grid.bins[k] / across);
    is_bad = is_bad || !(reach < most_images);
    grid.reach[k] = is_bad ? 0 : int(reach);
  }
  *args.problem = is_bad ? bad_box : 0;
}

// One block: the lattice as it is now, and the bins that the atoms are sorted into.
template <class Position>
IDLE_MD_DEVICE void make_grid(const ListArguments& args, double* memory) {
  if (*args.stale == 0) return;
  const int me = int(threadIdx.x), threads = int(blockDim.x);
  Grid& grid = *args.grid;
  if (me == 0) {
    for (int k = 0; k < 9; ++k) {
      grid.rows[k] = args.box == nullptr ? 0.0 : double(static_cast<const Position*>(args.box)[k]) * args.unit;
      args.cell[k] = grid.rows[k];
    }
    span_open_directions(args.periodic, grid.rows);
  }
  __syncthreads();
  // open directions' rows are unit vectors, normal to the rest: products with them are coordinates
  double low[3] = {}, high[3] = {};
  for (int k = 0; k < 3; ++k) {
    if (args.periodic[k]) continue;
    low[k] = 1e300;
    high[k] = -1e300;
    for (int n = me; n < args.atoms; n += threads) {
      const double place = dot(args.points + 3L * n, grid.rows + 3 * k);
      low[k] = place == place ? fmin(low[k], place) : -1e300;
      high[k] = place == place ? fmax(high[k], place) : 1e300;
    }
    memory[me] = low[k];
    memory[threads + me] = high[k];
    __syncthreads();
    for (int width = threads / 2; width > 0; width /= 2) {
      if (me < width) {
        memory[me] = fmin(memory[me], memory[me + width]);
        memory[threads + me] = fmax(memory[threads + me], memory[threads + me + width]);
      }
      __syncthreads();
    }
    low[k] = memory[0];
    high[k] = memory[threads];
    __syncthreads();
  }
  if (me == 0) lay_bins(args, low, high);
}

// A thread for each atom: where it is in the cell, and the number of its bin.
IDLE_MD_DEVICE void find_bins(const ListArguments& args) {
  constexpr double farthest = 1e8;
  const int n = thread_of_grid();
  if (*args.stale == 0 || n >= args.atoms) return;
  const Grid& grid = *args.grid;
  const double* point = args.points + 3L * n;
  int bin = 0;
  bool is_far = false, is_lost = false;
  double wrapped[3] = {point[0], point[1], point[2]};
  for (int k = 0; k < 3; ++k) {
    const double fraction = dot(point, grid.reciprocal + 3 * k);
    is_lost = is_lost || !(fabs(point[k]) < farthest);
    is_far = is_far || is_lost || !(fabs(fraction) < farthest);
    const int wraps = is_far || !args.periodic[k] ? 0 : int(floor(fraction));
    const double place = is_far ? 0.0 : (fraction - wraps - grid.origin[k]) * grid.per_bin[k];
    bin = bin * grid.bins[k] + min(larger(int(place), 0), grid.bins[k] - 1);
    args.wraps[3L * n + k] = wraps;
    for (int x = 0; x < 3; ++x) wrapped[x] -= wraps * grid.rows[3 * k + x];
  }
  for (int x = 0; x < 3; ++x) {
    args.wrapped[3L * n + x] = wrapped[x];
    args.before[3L * n + x] = point[x];
  }
  args.bin[n] = bin;
  if (is_far) atomicOr(args.problem, is_lost ? bad_position : bad_box);
}

// The image of a periodic direction that a bin beyond its ends belongs to.
IDLE_MD_DEVICE int image_of(int bin, int bins) {
  return bin >= 0 ? bin / bins : -((bins - 1 - bin) / bins);
}

IDLE_MD_DEVICE int image_code(const int* image) {
  return (image[0] + 512) | (image[1] + 512) << 10 | (image[2] + 512) << 20;
}

IDLE_MD_DEVICE int image_in(int code, int k) { return (code >> (10 * k) & 1023) - 512; }

// Adds a warp's neighbours among the atoms of one bin; returns how many there are then.
IDLE_MD_DEVICE int search_bin(const ListArguments& args, int atom, int bin, const int* image, int count) {
  const Grid& grid = *args.grid;
  double offset[3];
  for (int x = 0; x < 3; ++x) {
    offset[x] = -args.wrapped[3L * atom + x];
    for (int k = 0; k < 3; ++k) offset[x] += image[k] * grid.rows[3 * k + x];
  }
  const bool is_home = image[0] == 0 && image[1] == 0 && image[2] == 0;
  const int end = args.bin_start[bin + 1];
  for (int base = args.bin_start[bin]; base < end; base += 32) {
    const int place = base + lane();
    bool is_near = false;
    int other = 0;
    if (place < end) {
      other = args.bin_atoms[place];
      double d[3];
      for (int x = 0; x < 3; ++x) d[x] = args.wrapped[3L * other + x] + offset[x];
      is_near = dot(d, d) < args.reach * args.reach && !(is_home && other == atom);
    }
    const unsigned near = __ballot_sync(all_lanes, is_near);
    const int slot = count + __popc(near & ((1u << lane()) - 1u));
    if (is_near && slot < args.room)
      args.found[long(atom) * args.room + slot] = Int64(other) << 32 | image_code(image);
    count += __popc(near);
  }
  return count;
}

// A warp for each atom: neighbours sorted by atom and image, then padding.
IDLE_MD_DEVICE void search(const ListArguments& args) {
  const int atom = int(blockIdx.x) * (threads_of_edges / 32) + warp();
  if (*args.stale == 0 || atom >= args.atoms) return;
  const Grid& grid = *args.grid;
  const int* bins = grid.bins;
  const int own = args.bin[atom];
  const int home[3] = {own / bins[2] / bins[1], own / bins[2] % bins[1], own % bins[2]};
  int low[3], high[3], bin[3];
  for (int k = 0; k < 3; ++k) {
    low[k] = args.periodic[k] ? home[k] - grid.reach[k] : larger(home[k] - grid.reach[k], 0);
    high[k] = args.periodic[k] ? home[k] + grid.reach[k] : min(home[k] + grid.reach[k], bins[k] - 1);
  }
  int count = 0;
  for (bin[0] = low[0]; bin[0] <= high[0]; ++bin[0])
    for (bin[1] = low[1]; bin[1] <= high[1]; ++bin[1])
      for (bin[2] = low[2]; bin[2] <= high[2] && count <= args.room; ++bin[2]) {
        int image[3], number = 0;
        for (int k = 0; k < 3; ++k) {
          image[k] = image_of(bin[k], bins[k]);
          number = number * bins[k] + bin[k] - image[k] * bins[k];
        }
        count = search_bin(args, atom, number, image, count);
      }
  if (count > args.room && lane() == 0) atomicOr(args.problem, no_room);
  count = min(count, args.room);
  __syncwarp();
  const long row = long(atom) * args.room;
  for (int slot = lane(); slot < args.room; slot += 32) {
    if (slot >= count) {
      args.neighbor[row + slot] = atom;
      args.image[row + slot] = padding;
      continue;
    }
    const Int64 key = args.found[row + slot];
    int place = 0;
    for (int other = 0; other < count; ++other) place += args.found[row + other] < key;
    args.neighbor[row + place] = int(key >> 32);
    args.image[row + place] = int(key & 0xffffffff);
  }
}

// A thread for each place of the list, for an evaluation to keep: later ones may change the list. Places that
// no edge takes are longer than any cutoff.
template <class T>
IDLE_MD_DEVICE void edge_vectors(const ListArguments& args) {
  const int slot = thread_of_grid();
  if (slot == 0 && *args.stale != 0) {
    *args.stale = 0;
    *args.searches += 1;
  }
  const int edges = args.atoms * args.room;
  if (slot >= edges) return;
  T* out = static_cast<T*>(args.vectors) + 3L * slot;
  const int i = slot / args.room, code = args.image[slot];
  const long j = args.neighbor[slot];
  args.index[slot] = i;
  args.index[edges + slot] = j;
  const bool is_problem = *args.problem != 0;
  if (is_problem || code == padding) {
    for (int x = 0; x < 3; ++x) out[x] = is_problem ? not_a_number<T>() : T(x == 0 ? 2.0 * args.reach : 0.0);
    return;
  }
  for (int x = 0; x < 3; ++x) {
    double shift = 0.0;
    for (int k = 0; k < 3; ++k) {
      const int images = image_in(code, k) + args.wraps[3L * i + k] - args.wraps[3 * j + k];
      shift += images * args.grid->rows[3 * k + x];
    }
    out[x] = T(args.points[3 * j + x] - args.points[3L * i + x] + shift);
  }
}

// A thread for each pair (i, j), sorted by i and then j.
template <class Position, class T>
IDLE_MD_DEVICE void all_pairs(const AllPairsArguments& args) {
  const int slot = thread_of_grid(), others = args.atoms - 1;
  if (slot >= args.atoms * others) return;
  const int i = slot / others, j = slot % others + (slot % others >= i);
  const auto* positions = static_cast<const Position*>(args.positions);
  const Position *from = positions + 3 * args.chosen[i], *to = positions + 3 * args.chosen[j];
  for (int x = 0; x < 3; ++x)
    static_cast<T*>(args.vectors)[3L * slot + x] = T(double(to[x]) * args.unit - double(from[x]) * args.unit);
}

}  // namespace idle_md::cuda
