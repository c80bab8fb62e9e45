package say

import tandemv1 "tandem.dev/proto/tandem/v1"

// operatePhrases are the texts of events about what people say of jobs, and of how operators divide up the machines.
func operatePhrases() map[tandemv1.Event_Type]phrase {
	return map[tandemv1.Event_Type]phrase{
		tandemv1.Event_TYPE_JOB_LABELLED: {
			text: job + `has {{with .labels}}labels {{.}}{{else}}no labels{{end}}{{with .note}} and the note {{printf "%q" .}}{{end}} now` +
				asked,
		},
	}
}
