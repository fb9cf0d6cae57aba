#!/usr/bin/env bash
# Every operator once, at a tiny size, under NVIDIA's compute-sanitizer.
# usage: bench/compute_sanitizer.sh PYTHON [TOOL ...]   (memcheck racecheck initcheck synccheck)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: bench/compute_sanitizer.sh PYTHON [TOOL ...]}
shift
tools=("$@")
[ ${#tools[@]} -gt 0 ] || tools=(memcheck racecheck initcheck synccheck)

sanitizer=$(command -v compute-sanitizer || true)
for folder in "${CUDA_HOME:-}" /usr/local/cuda; do
  [ -n "$sanitizer" ] || [ ! -x "$folder/bin/compute-sanitizer" ] ||
    sanitizer=$folder/bin/compute-sanitizer
done
if [ -z "$sanitizer" ]; then
  echo "compute_sanitizer.sh: no compute-sanitizer found in PATH, \$CUDA_HOME/bin or" \
    "/usr/local/cuda/bin; it comes with the CUDA toolkit" >&2
  exit 1
fi
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "compute_sanitizer.sh: no CUDA device found" >&2
  exit 1
fi

# A memory block for every tensor, so that an access beside one is seen.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
failed=()
for tool in "${tools[@]}"; do
  echo "== $tool"
  "$sanitizer" --tool "$tool" --kernel-regex kns=point2mask --error-exitcode 9 \
    "$python" bench/gpu_smoke.py || failed+=("$tool")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "compute_sanitizer.sh: findings or failures under: ${failed[*]}" >&2
  exit 1
fi
echo "compute_sanitizer.sh: clean under ${tools[*]}"
