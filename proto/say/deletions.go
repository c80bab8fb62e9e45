package say

import tandemv1 "tandem.dev/proto/tandem/v1"

// pruned says who has deleted what is old.
const pruned = `{{if .policy}}, as the retention of the cluster says{{else}}` + by + `{{end}}`

// deletionPhrases are the texts of events about what was deleted.
func deletionPhrases() map[tandemv1.Event_Type]phrase {
	return map[tandemv1.Event_Type]phrase{
		tandemv1.Event_TYPE_JOB_DELETED: {text: job + `was deleted` + by},
		tandemv1.Event_TYPE_JOBS_PRUNED: {
			text: `{{count .jobs "job"}} that ended before {{date .before}} {{plural .jobs "was" "were"}} deleted` + pruned +
				`, with {{count .trials "trial"}} and {{count .checkpoints "checkpoint"}} of {{or .bytes "0"}} bytes`,
		},
		tandemv1.Event_TYPE_LOGS_PRUNED: {
			text: `the logs of {{count .jobs "job"}} that ended before {{date .before}} were deleted` + pruned,
		},
		tandemv1.Event_TYPE_RETENTION_CHANGED: {
			text: `the cluster keeps jobs that have ended {{with .jobs}}for {{seconds .}}{{else}}until they are deleted{{end}}` +
				`{{with .logs}}, their logs for {{seconds .}}{{end}}{{with .events}}, and events for {{seconds .}}{{end}}` + asked,
		},
		tandemv1.Event_TYPE_MODEL_DELETED: {
			text: `{{with .version}}version {{.}} of model {{else}}model {{end}}{{.name}}{{with .versions}} with {{count . "version"}}{{end}} was deleted` + by,
		},
		tandemv1.Event_TYPE_DATASET_DELETED: {
			text: `dataset {{.name}}{{with .version}}@{{.}}{{end}}{{with .versions}} with {{count . "version"}}{{end}} was deleted` + by,
		},
	}
}
