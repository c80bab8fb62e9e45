package say

import tandemv1 "tandem.dev/proto/tandem/v1"

// policy is that of a pool.
const policy = `: order {{.order}}, placement {{.placement}}{{with .rack}}, racks by label {{.}}{{end}}`

// operatePhrases are the texts of events about what people say of jobs, and of how operators divide up the machines.
func operatePhrases() map[tandemv1.Event_Type]phrase {
	return map[tandemv1.Event_Type]phrase{
		tandemv1.Event_TYPE_JOB_LABELLED: {
			text: job + `has {{with .labels}}labels {{.}}{{else}}no labels{{end}}{{with .note}} and the note {{printf "%q" .}}{{end}} now` +
				asked,
		},
		tandemv1.Event_TYPE_NODE_LABELLED: {text: `node {{.name}} has {{with .labels}}labels {{.}}{{else}}no labels{{end}} now` + asked},
		tandemv1.Event_TYPE_POOL_CREATED:  {text: `pool {{.name}} was made` + by + policy},
		tandemv1.Event_TYPE_POOL_CHANGED:  {text: `pool {{.name}} was changed` + by + policy},
		tandemv1.Event_TYPE_SLOT_DISABLED: {
			text: `slot {{.slot}} of node {{.name}} takes no new work, and what runs there goes elsewhere` + asked + told,
		},
		tandemv1.Event_TYPE_SLOT_ENABLED: {text: `slot {{.slot}} of node {{.name}} takes new work again` + asked},
	}
}

// operateReasons are the texts of reasons that follow from it.
func operateReasons() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_NODES_NOT_WHOLE: {
			text: `wants {{count .slots "slot"}}{{with .least}} ({{.}} are enough to begin){{end}} on whole nodes` +
				`{{with .labels}} with labels {{.}}{{end}}, and those of pool {{printf "%q" .pool}} give {{.available}} at most: ` +
				`ask for as many workers as some of its nodes have slots`,
			cli: `see how many that are with: tandem node list`,
		},
		tandemv1.Reason_CODE_SLOTS_LABELLED_TOO_FEW: {
			text: `wants {{count .slots "slot"}}{{with .least}} ({{.}} are enough to begin){{end}} on nodes with labels {{.labels}}, ` +
				`which have {{.available}} in pool {{printf "%q" .pool}}`,
			cli: `give more nodes these labels with: tandem node label`,
		},
	}
}
