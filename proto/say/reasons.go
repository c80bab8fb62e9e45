package say

import tandemv1 "tandem.dev/proto/tandem/v1"

// reasonPhrases is the text of each reason.
func reasonPhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_TEXT: {text: `{{.text}}`},

		tandemv1.Reason_CODE_NOT_FOUND:      {text: `{{.noun}} {{printf "%q" .name}} was not found`, cli: `see what there is with: {{lookup .noun}}`},
		tandemv1.Reason_CODE_ALREADY_EXISTS: {text: `{{.noun}} {{.name}} already exists; choose another name or id`},
		tandemv1.Reason_CODE_FIELD_MISSING:  {text: `{{.field}} of the {{.noun}} is missing`},

		tandemv1.Reason_CODE_NODE_LOST:            {text: `node {{.node}} was lost`},
		tandemv1.Reason_CODE_AGENT_STOPPED:        {text: `the agent of node {{.node}} was stopped`},
		tandemv1.Reason_CODE_AGENT_RESTARTED:      {text: `the agent of node {{.node}} was started again`},
		tandemv1.Reason_CODE_NODE_ALIVE:           {text: `node {{.node}} is alive; stop its agent, wait until the node is lost, then remove it`},
		tandemv1.Reason_CODE_NODE_INCARNATION:     {text: `node {{.node}} is at incarnation {{.current}}, not {{.given}}; end this session`},
		tandemv1.Reason_CODE_DRAIN_WITHOUT_CORDON: {text: `a node that is drained takes no new work: cordon it too`},
		tandemv1.Reason_CODE_NOT_A_COORDINATOR:    {text: `{{.id}} is the node {{.node}}, not a coordinator`, cli: `remove it with: tandem node remove {{.id}}`},
		tandemv1.Reason_CODE_NODE_REMOVED: {
			text: `node {{.node}} was removed from the cluster: to use the machine again, empty the data folder of its agent and join with a new token`,
			cli:  `make one with: tandem token create --join --role worker`,
		},
		tandemv1.Reason_CODE_TOKEN_ENDED: {
			text: `the time of join token {{.token}} is over`,
			cli:  `make a new one with: tandem token create --join --role {{.role}}`,
		},
		tandemv1.Reason_CODE_TOKEN_USED_UP: {
			text: `join token {{.token}} was used for {{count .nodes "node"}}, as often as it is good for`,
			cli:  `make a new one with: tandem token create --join --role {{.role}} (--uses N for several nodes)`,
		},
		tandemv1.Reason_CODE_COORDINATOR_REMOVED: {
			text: `coordinator {{.coordinator}} was removed from the cluster: to use the machine again, empty its data folder and join with a new token`,
			cli:  `make one with: tandem token create --join --role coordinator`,
		},
	}
}
