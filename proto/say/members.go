package say

import tandemv1 "tandem.dev/proto/tandem/v1"

// memberPhrases is the text of each type of event about who belongs to the cluster.
func memberPhrases() map[tandemv1.Event_Type]phrase {
	return map[tandemv1.Event_Type]phrase{
		tandemv1.Event_TYPE_PROJECT_CREATED: {text: `project {{.name}} was made, with weight {{.weight}}` + by},
		tandemv1.Event_TYPE_PROJECT_CHANGED: {text: `project {{.name}} was changed: it has weight {{.weight}}` + by},
		tandemv1.Event_TYPE_PROJECT_DELETED: {text: `project {{.name}} was deleted` + by},

		tandemv1.Event_TYPE_COORDINATOR_REMOVED: {text: `coordinator {{.name}} was removed` + by},
		tandemv1.Event_TYPE_COORDINATOR_JOINS:   {text: `coordinator {{.name}} at {{.address}} joins: it is sent the log and has no vote yet`},
		tandemv1.Event_TYPE_COORDINATOR_JOINED:  {text: `coordinator {{.name}} at {{.address}} has joined and has a vote`},
		tandemv1.Event_TYPE_COORDINATOR_MOVED:   {text: `coordinator {{.name}} has moved from {{.former}} to {{.address}}`},
		tandemv1.Event_TYPE_COORDINATOR_LOST: {
			text: `coordinator {{.name}} at {{.address}} does not answer the leader`,
			cli:  `start it again, or take it out with: tandem cluster remove-peer {{.name}}`,
		},
		tandemv1.Event_TYPE_COORDINATOR_BACK:  {text: `coordinator {{.name}} at {{.address}} is back`},
		tandemv1.Event_TYPE_COORDINATOR_LEADS: {text: `coordinator {{.name}} at {{.address}} leads now`},
		tandemv1.Event_TYPE_COORDINATOR_CLOCK: {
			text: `the clock of coordinator {{.name}} is {{apart .offset}} the coordinators' time, as {{.observer}} hears it: set the clock that is wrong, for example with NTP`,
		},
		tandemv1.Event_TYPE_COORDINATOR_CLOCK_RIGHT: {text: `the clock of coordinator {{.name}} agrees with the coordinators' time again`},
		tandemv1.Event_TYPE_NODE_CLOCK: {
			text: `the clock of node {{.name}} is {{apart .offset}} the coordinators' time, as {{.observer}} hears it: set the clock that is wrong, for example with NTP`,
		},
		tandemv1.Event_TYPE_NODE_CLOCK_RIGHT: {text: `the clock of node {{.name}} agrees with the coordinators' time again`},
		tandemv1.Event_TYPE_NODE_REPLACED: {
			text: `node {{.name}} at {{.address}} has joined anew as {{.by}}: the lost node of that name and address, {{.subject}}, is forgotten`,
		},
		tandemv1.Event_TYPE_CERTIFICATE_ENDS: {
			text: `the certificate of {{if eq .what "CA"}}the CA{{else}}{{.what}} {{.name}}{{end}} ends at {{date .expires_at}}` +
				`{{if ne .what "CA"}}: it is renewed when the program of the {{.what}} runs and reaches the others{{end}}`,
			cli: `{{if eq .what "CA"}}replace it before then with: tandem cluster rotate-ca{{end}}`,
		},
		tandemv1.Event_TYPE_KEY_NEXT:    {text: `a new {{.key}} is handed to all nodes; it is used when all that are alive have it`},
		tandemv1.Event_TYPE_KEY_ACTIVE:  {text: `the new {{.key}} is used from now on`},
		tandemv1.Event_TYPE_KEY_REMOVED: {text: `the former {{.key}} is not valid any more`},
		tandemv1.Event_TYPE_STORE_FAULT: {
			text: `{{sentence .cause}} What trains goes on and keeps its newest and best checkpoint on the disks of its nodes; what begins or ends waits`,
		},
		tandemv1.Event_TYPE_STORE_SERVES:  {text: `the store serves again`},
		tandemv1.Event_TYPE_STORE_CHANGED: {text: `the store is reached at {{.endpoint}} with access key {{.access_key}} from now on, as {{or .by "a user"}} asked`},

		tandemv1.Event_TYPE_TOKEN_CREATED: {text: `token {{.name}} with role {{.role}} was created` + by},
		tandemv1.Event_TYPE_TOKEN_REVOKED: {text: `token {{.name}} was revoked` + by},
		tandemv1.Event_TYPE_TOKEN_EXPIRED: {text: `token {{.name}} has ended`},
		tandemv1.Event_TYPE_TOKEN_ENDS: {
			text: `token {{.name}} ends at {{date .expires_at}}`,
			cli:  `make another one before then with: tandem token create --role {{.role}}`,
		},
		tandemv1.Event_TYPE_TOKEN_USED: {text: `a {{.role}}, {{.node}}, joins with token {{.name}}`},
	}
}
