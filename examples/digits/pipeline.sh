#!/bin/bash
# A nightly pipeline, one command a line: data, training, serving, a prediction, and all of it away again. Each line says by its exit code whether it
# went well (`tandem exit-codes`) and writes JSON to standard output. Each has a request id or changes nothing, so that any line, and the whole, may be
# run again within a day with the same RUN: nothing is done twice. What comes out the second time is the same, but that a job has gone on meanwhile, and
# that what was deleted can no longer be shown: then the answer is empty, and the exit code is 0 all the same.
#   RUN=2026-12-01 examples/digits/pipeline.sh
set -euo pipefail
here=$(dirname "$0") run=${RUN:-$(date +%s)-$$}

tandem dataset create "digits-$run" --from "$here/digits.csv" --label label --shape 1,8,8 --normalize scale:1/16 --request-id "$run-data" -o json
tandem submit -f "$here/job.yaml" --set "name=digits-$run" --set "dataset=digits-$run" --set "publish.model=digits-$run" --set "training.epochs=${EPOCHS:-30}" --request-id "$run-train" -o json
tandem wait "digits-$run" --timeout "${TIMEOUT:-2h}" -o json
tandem describe "digits-$run" -o json
tandem model alias "digits-$run@1" nightly --request-id "$run-alias" -o json
tandem serve "digits-$run@nightly" --timeout 10m --request-id "$run-serve" -o json
tandem predict "digits-$run" --input "$here/digits.csv" --row 7 -o json
tandem serve stop -y "digits-$run" --request-id "$run-stop" -o json
tandem model alias "digits-$run" nightly --remove --request-id "$run-unalias" -o json
tandem model alias "digits-$run" champion --remove --request-id "$run-unchampion" -o json
tandem model delete -y "digits-$run" --request-id "$run-model" -o json
tandem delete -y "digits-$run" --request-id "$run-job" -o json
tandem dataset delete -y "digits-$run" --request-id "$run-unload" -o json
