// SPDX-License-Identifier: GPL-2.0-only
// What LAMMPS' `plugin load` calls.
#include "lammps.h"
#include "pair_idle.h"

namespace {

// As in LAMMPS' lammpsplugin.h, which its package on the index lacks.
struct Plugin {
  const char *version, *style, *name, *info, *author;
  void *creator, *handle;
};
using Register = void (*)(Plugin*, void*);

LAMMPS_NS::Pair* make_pair(LAMMPS_NS::LAMMPS* lmp) { return new LAMMPS_NS::PairIdle(lmp); }

}  // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void* lmp, void* handle, void* add) {
  Plugin plugin{IDLE_MD_LAMMPS_VERSION, "pair", "idle", "Models of idle_md", "idle_md authors",
                reinterpret_cast<void*>(&make_pair), handle};
  reinterpret_cast<Register>(add)(&plugin, lmp);
}
