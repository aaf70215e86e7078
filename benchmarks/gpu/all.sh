#!/usr/bin/env bash
# Everything that is to be known of a GPU, in a quarter of an hour: what is cut off has still left files.
#
#     benchmarks/gpu/all.sh [FOLDER]          on a GPU
#     DEVICE=cpu benchmarks/gpu/all.sh        a rehearsal without one, on small sizes
#
# PYTHON names the interpreter, MODEL an exported PaiNN in single precision; without one, weights are random.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(realpath -m "${1:-runs/gpu}")
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
mkdir -p "$out"
export PYTHONPATH="$PWD:$PWD/benchmarks:$PWD/benchmarks/gpu${PYTHONPATH:+:$PYTHONPATH}"
failed=()

# part NAME SECONDS COMMAND...: with a time limit of its own; a failure does not stop the others.
part() {
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  echo "== $name (at most $limit s)"
  timeout --kill-after=5 "$limit" "$@" 2>&1 | tee "$out/$name.log"
  local status=${PIPESTATUS[0]}
  echo "== $name: $([[ $status == 0 ]] && echo done || echo "ended with $status"), $((SECONDS - begin)) s"
  [[ $status == 0 ]] || failed+=("$name")
}

case $device in
  cuda) sizes=(21 49 100 774 1000 10000 100000) rounds=7 seconds=60 features=128 water=3000 ;;
  *) sizes=(21 198) rounds=2 seconds=5 features=32 water=1000 ;;
esac
model=${MODEL:-$out/model.pt}

part machine 20 "$python" benchmarks/gpu/machine.py --json "$out/machine.json"
part build 130 "$python" -m idle_md build-plugins --folder build/gpu
[[ -e $model ]] || part model 30 "$python" benchmarks/gpu/model.py "$model"
part correct 100 "$python" benchmarks/gpu/correct.py "$model" --device "$device" --json "$out/correct.json"
if [[ $device == cuda ]] && command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    part "sanitizer-$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$python" benchmarks/gpu/correct.py "$model" --device cuda --smallest
  done
fi
part step 160 "$python" benchmarks/gpu/step.py "$model" --device "$device" ${sizes[@]/#/--atoms } --rounds "$rounds" --json "$out/step.json"
part openmm 140 "$python" benchmarks/gpu/in_openmm.py idle-s --device "$device" --water "$water" --seconds 10 --json "$out/openmm.json"
part train 120 "$python" benchmarks/gpu/train.py --device "$device" --seconds "$seconds" --features "$features" --json "$out/train.json"

echo "== results in $out${failed[0]:+; not done: ${failed[*]}}"
[[ ${#failed[@]} == 0 ]]
