#!/bin/sh
# All that has to be seen on a GPU, within 8 minutes: benchmarks/gpu_check.sh DATA.yaml [more options of gpu_check.py]
set -eu
data=$1
shift
exec "${PYTHON:-python}" "$(dirname "$0")/gpu_check.py" --data "$data" --minutes 7 --save "$@"
