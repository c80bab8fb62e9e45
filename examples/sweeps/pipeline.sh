#!/bin/bash
# A batch pipeline with nobody watching: search, take the winner, train it longer, publish it. It needs tandem and nothing else, and steers by exit
# codes (`tandem exit-codes`) and JSON. What it found out it writes to standard output as name=value, all else to standard error.
#   examples/sweeps/pipeline.sh [SPEC [EPOCHS [MODEL]]]
# Started again with the same RUN within a day it submits nothing twice, and goes on where it was.
set -euo pipefail
spec=${1:-examples/sweeps/asha.yaml} epochs=${2:-60} model=${3:-digits} run=${RUN:-$(date +%s)-$$}

# value NAME: the first value of this name in the JSON on standard input, which tandem writes one a line. (With jq: jq -r .job.id and the like.)
value() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" | sed -n 1p; }

sweep=$(tandem submit -f "$spec" --request-id "$run-sweep" -o json | value id)
echo "sweep=$sweep"

code=0
tandem wait "$sweep" --timeout "${TIMEOUT:-2h}" -o json >/dev/null || code=$?
case $code in
0) ;;
7) # it takes too long: what was found so far has to do
  tandem cancel -y "$sweep" >&2 ;;
3) # why did trials fail?
  tandem sweep trials "$sweep" --state failed >&2
  exit "$code" ;;
*) exit "$code" ;; # cancelled by somebody, or no cluster
esac
# The winner's own spec with its own seed. Exit code 9: nothing was measured.
winner=$(tandem sweep best "$sweep" -o yaml)
echo "best_value=$(tandem sweep status "$sweep" -o json | value best_value)"

# The same, only longer.
job=$(tandem submit -f - --request-id "$run-job" --set "training.epochs=$epochs" --set "publish.model=$model" -o json <<<"$winner" | value id)
echo "job=$job"
echo "version=$(tandem wait "$job" -o json | value published_version)"
