// SPDX-License-Identifier: GPL-2.0-only
#include "archive.hpp"

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <nlohmann/json.hpp>  // LAMMPS' copy
#include <sstream>
#include <stdexcept>

#include "sha256.hpp"

namespace idle_md {
namespace {

using json = nlohmann_lmp::json;

constexpr const char* metadata_record = "extra/idle_md.json";
constexpr int format_version = 1;

// As idle_md.deploy.artifact.content_hash makes it: over all records but these two.
std::string content_hash(caffe2::serialize::PyTorchStreamReader& archive) {
  std::vector<std::string> names = archive.getAllRecords();
  std::sort(names.begin(), names.end());
  std::string lines;
  for (const std::string& name : names) {
    if (name == metadata_record || name == ".data/serialization_id") continue;
    const auto [data, size] = archive.getRecord(name);
    lines += name + " " + sha256(std::string(static_cast<const char*>(data.get()), size)) + "\n";
  }
  return sha256(lines);
}

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw std::runtime_error(path + " " + reason);
}

std::string title(const json& level) {
  if (!level.is_object()) return "level of theory not recorded";
  std::string text = level.value("method", "");
  if (level.contains("basis") && level["basis"].is_string()) text += "/" + level["basis"].get<std::string>();
  if (level.contains("program") && level["program"].is_string())
    text += " (" + level["program"].get<std::string>() + ")";
  return text;
}

Metadata parse(const json& described) {
  Metadata metadata;
  metadata.fidelity = described.at("fidelity").get<std::string>();
  metadata.level_of_theory = title(described.at("level_of_theory"));
  metadata.dtype = described.at("dtype").get<std::string>();
  metadata.elements = described.at("elements").get<std::vector<int>>();
  metadata.cutoff = described.at("cutoff_angstrom").get<double>();
  metadata.interactions = described.at("interactions").get<int>();
  metadata.members = described.at("members").get<int>();
  const json& backbone = described.at("backbone");
  metadata.backbone = backbone.at("name").get<std::string>();
  metadata.features = backbone.value("features", 0L);
  metadata.bessel = backbone.value("radial", "") == "bessel";
  if (described.contains("charges") && described["charges"].is_object()) {
    metadata.charges.emplace();
    for (const auto& [charge, count] : described["charges"].items())
      metadata.charges->emplace(std::stoi(charge), count.get<long>());
  }
  return metadata;
}

void check(const std::string& path, const json& described) {
  const json& version = described.contains("format_version") ? described["format_version"] : json();
  if (version != format_version)
    refuse(path, "has format version " + version.dump() + ", this plugin reads " + std::to_string(format_version) +
                     ": build the plugin again with the idle_md that wrote the file (`idle-md build-plugins "
                     "--lammps`), or export the checkpoint again");
  const json& low = described.contains("delta_on") ? described["delta_on"] : json();
  if (low.is_string())
    refuse(path, "is the difference to a live " + low.get<std::string>() +
                     " calculation, which LAMMPS cannot add: train with `method: idle`, whose model needs no low "
                     "level at inference");
  const std::string dtype = described.value("dtype", "");
  if (dtype != "float32" && dtype != "float64")
    refuse(path, "is in " + dtype + ": this plugin runs float32 and float64");
}

}  // namespace

Metadata read_metadata(const std::string& path, const std::string& content) {
  const std::string again = ": write it again with `idle-md export`";
  json described;
  std::string digest;
  try {
    std::istringstream stream(content);
    caffe2::serialize::PyTorchStreamReader archive(&stream);
    if (!archive.hasRecord(metadata_record))
      throw std::invalid_argument("holds no idle_md.json, so it is no deployed model: make one from a checkpoint "
                                  "with `idle-md export CHECKPOINT --fidelity NAME -o model.pt`");
    const auto [data, size] = archive.getRecord(metadata_record);
    described = json::parse(std::string(static_cast<const char*>(data.get()), size));
    check(path, described);
    digest = content_hash(archive);
  } catch (const std::invalid_argument& error) {
    refuse(path, error.what());
  } catch (const std::runtime_error&) {
    throw;
  } catch (const std::exception&) {
    refuse(path, (content.compare(0, 2, "PK") ? "is no model file" : "is truncated or damaged") + again);
  }
  if (described.value("content_sha256", "") != digest)
    refuse(path, "was changed or damaged after export, its contents do not match the hash in its metadata" + again);
  try {
    return parse(described);
  } catch (const std::exception& error) {
    refuse(path, std::string("has metadata that cannot be used: ") + error.what() + again);
  }
}

}  // namespace idle_md
