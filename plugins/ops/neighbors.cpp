#include "neighbors.hpp"

namespace idle_md {
namespace {

constexpr double largest_cutoff = 1e8;
constexpr int64_t most_neighbors = 20000;
constexpr int64_t centers_per_part = 256;
constexpr int64_t edges_per_part = 16384;

int64_t parts_of(int64_t n, int64_t per_part) { return (n + per_part - 1) / per_part; }

template <class Body>
void for_each_part(ParallelFor parallel_for, int64_t n_parts, const Body& body) {
  parallel_for(
      n_parts,
      [](void* context, long begin, long end) {
        for (long part = begin; part < end; ++part) (*static_cast<const Body*>(context))(part);
      },
      const_cast<Body*>(&body));
}

// The neighbours of all centres. Centres of a bin share one sorted list of candidates, so that
// their neighbours come out in order without a sort for each.
class Search {
 public:
  Search(const Atoms& atoms, double cutoff);
  void run(ParallelFor parallel_for);
  int64_t n_edges() const { return first_edge_.back(); }
  void write(const EdgeArrays& edges, ParallelFor parallel_for) const;

 private:
  // The keys of the neighbours of consecutive places.
  struct Part {
    std::vector<uint64_t> keys;
    int64_t crowded_atom = -1;
  };

  // Room that the centres of a part share.
  struct Memory {
    Candidates candidates;
    std::vector<double> squares;
    std::vector<uint64_t> neighbors;
  };

  void search_part(int64_t part);
  int64_t find_neighbors(int64_t atom, Memory& memory) const;
  void write_part(int64_t part, const EdgeArrays& edges) const;
  int64_t end_of_part(int64_t part) const {
    return std::min(count_, (part + 1) * centers_per_part);
  }

  double cutoff_;
  int64_t count_;
  Bins bins_;
  std::vector<Part> parts_;
  std::vector<int64_t> first_edge_;  // by centre
};

Search::Search(const Atoms& atoms, double cutoff)
    : cutoff_(cutoff),
      count_(atoms.count),
      bins_(atoms, cutoff),
      parts_(parts_of(atoms.count, centers_per_part)),
      first_edge_(atoms.count + 1, 0) {}

void Search::run(ParallelFor parallel_for) {
  for_each_part(parallel_for, static_cast<int64_t>(parts_.size()),
                [this](int64_t part) { search_part(part); });
  for (const Part& part : parts_) {
    if (part.crowded_atom >= 0) {
      std::ostringstream message;
      message << "there are too many atoms and images around atom " << part.crowded_atom
              << " for a cutoff of " << cutoff_
              << " angstrom: are the positions and the cell in angstrom?";
      throw std::invalid_argument(message.str());
    }
  }
  for (int64_t i = 0; i < count_; ++i) first_edge_[i + 1] += first_edge_[i];
}

void Search::search_part(int64_t part) {
  Part& found = parts_[part];
  Memory memory;
  const auto& keys = memory.candidates.keys;
  int64_t bin = -1;
  for (int64_t place = part * centers_per_part; place < end_of_part(part); ++place) {
    const int64_t atom = bins_.atom(place);
    if (bins_.bin(place) != bin) {
      bin = bins_.bin(place);
      bins_.find_candidates(bin, memory.candidates);
      memory.squares.resize(keys.size());
      memory.neighbors.resize(keys.size() + 1);
    }
    const bool crowded = keys.size() > Candidates::most;
    const int64_t count = crowded ? 0 : find_neighbors(atom, memory);
    if (crowded || count > most_neighbors) {
      found.crowded_atom = atom;  // reported by the caller: a thread must not throw
      return;
    }
    const auto first = memory.neighbors.begin();
    found.keys.insert(found.keys.end(), first, first + count);
    first_edge_[atom + 1] = count;
  }
}

// Two loops, the first of them vectorised, the second without branches: it writes one too many.
int64_t Search::find_neighbors(int64_t atom, Memory& memory) const {
  const Vector center = bins_.wrapped(atom);
  const uint64_t itself = bins_.key(atom, {0, 0, 0});
  const double limit = cutoff_ * cutoff_;
  const auto& [x, y, z] = memory.candidates.positions;
  const auto& [shift_x, shift_y, shift_z] = memory.candidates.translations;
  const uint64_t* keys = memory.candidates.keys.data();
  const size_t n_candidates = memory.candidates.keys.size();
  double* squares = memory.squares.data();
  for (size_t n = 0; n < n_candidates; ++n) {
    const double dx = x[n] - center[0] + shift_x[n];
    const double dy = y[n] - center[1] + shift_y[n];
    const double dz = z[n] - center[2] + shift_z[n];
    squares[n] = dx * dx + dy * dy + dz * dz;
  }
  uint64_t* neighbors = memory.neighbors.data();
  int64_t count = 0;
  for (size_t n = 0; n < n_candidates; ++n) {
    neighbors[count] = keys[n];
    count += (squares[n] < limit) & (keys[n] != itself);
  }
  return count;
}

void Search::write(const EdgeArrays& edges, ParallelFor parallel_for) const {
  for_each_part(parallel_for, static_cast<int64_t>(parts_.size()),
                [&](int64_t part) { write_part(part, edges); });
}

void Search::write_part(int64_t part, const EdgeArrays& edges) const {
  const uint64_t* key = parts_[part].keys.data();
  for (int64_t place = part * centers_per_part; place < end_of_part(part); ++place) {
    const int64_t atom = bins_.atom(place);
    for (int64_t e = first_edge_[atom]; e < first_edge_[atom + 1]; ++e, ++key) {
      edges.centers[e] = atom;
      edges.neighbors[e] = static_cast<int64_t>(*key >> 32);
      if (edges.shifts == nullptr) continue;
      const Vector shift = bins_.shift(atom, *key);
      for (int k = 0; k < 3; ++k) edges.shifts[3 * e + k] = shift[k];
    }
  }
}

}  // namespace

void find_edges(const Atoms& atoms, double cutoff,
                const std::function<EdgeArrays(int64_t)>& allocate, ParallelFor parallel_for) {
  if (!(cutoff > 0.0 && cutoff < largest_cutoff)) {
    std::ostringstream message;
    message << "the cutoff must be positive and finite, in angstrom: got " << cutoff;
    throw std::invalid_argument(message.str());
  }
  Search search(atoms, cutoff);
  search.run(parallel_for);
  search.write(allocate(search.n_edges()), parallel_for);
}

namespace {

template <bool shifted, class Real>
void write_vectors(const double* positions, const EdgeArrays& edges, int64_t n_edges,
                   Real* vectors, ParallelFor parallel_for) {
  for_each_part(parallel_for, parts_of(n_edges, edges_per_part), [&](int64_t part) {
    const int64_t end = std::min(n_edges, (part + 1) * edges_per_part);
    for (int64_t e = part * edges_per_part; e < end;) {
      const int64_t i = edges.centers[e];
      const double x = positions[3 * i], y = positions[3 * i + 1], z = positions[3 * i + 2];
      for (; e < end && edges.centers[e] == i; ++e) {
        const double* neighbor = positions + 3 * edges.neighbors[e];
        Vector vector = {neighbor[0] - x, neighbor[1] - y, neighbor[2] - z};
        for (int k = 0; k < 3; ++k) {
          if constexpr (shifted) vector[k] += edges.shifts[3 * e + k];
          vectors[3 * e + k] = static_cast<Real>(vector[k]);
        }
      }
    }
  });
}

}  // namespace

template <class Real>
void edge_vectors(const double* positions, const EdgeArrays& edges, int64_t n_edges,
                  Real* vectors, ParallelFor parallel_for) {
  if (edges.shifts != nullptr) {
    write_vectors<true>(positions, edges, n_edges, vectors, parallel_for);
  } else {
    write_vectors<false>(positions, edges, n_edges, vectors, parallel_for);
  }
}

template void edge_vectors<float>(const double*, const EdgeArrays&, int64_t, float*, ParallelFor);
template void edge_vectors<double>(const double*, const EdgeArrays&, int64_t, double*,
                                   ParallelFor);

bool moved_beyond(double distance, const double* before, const double* now, int64_t n_atoms) {
  for (int64_t i = 0; i < n_atoms; ++i) {
    const double x = now[3 * i] - before[3 * i];
    const double y = now[3 * i + 1] - before[3 * i + 1];
    const double z = now[3 * i + 2] - before[3 * i + 2];
    if (!(x * x + y * y + z * z <= distance * distance)) return true;
  }
  return false;
}

}  // namespace idle_md
