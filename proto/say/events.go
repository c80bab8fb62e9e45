package say

import tandemv1 "tandem.dev/proto/tandem/v1"

// Parts of many texts: which job, and who is behind an event.
const (
	job   = `job {{.name}}{{with .trial}}, trial {{.}}{{end}} `
	asked = `, as {{or .by "a user"}} asked`
	told  = `{{with .cause}}: {{.}}{{end}}`
	by    = ` by {{or .by "a user"}}`
)

// eventPhrases is the text of each event. Beside the arguments there are name and subject, of what the event is about, and job.
func eventPhrases() map[tandemv1.Event_Type]phrase {
	return map[tandemv1.Event_Type]phrase{
		tandemv1.Event_TYPE_JOB_SUBMITTED:     {text: job + `was submitted` + by},
		tandemv1.Event_TYPE_JOB_PAUSING:       {text: job + `stops with a checkpoint` + asked},
		tandemv1.Event_TYPE_JOB_PAUSED:        {text: job + `is paused`},
		tandemv1.Event_TYPE_JOB_RESUMED:       {text: job + `was resumed` + by},
		tandemv1.Event_TYPE_JOB_SCALED:        {text: job + `should have {{count .workers "worker"}}` + asked},
		tandemv1.Event_TYPE_JOB_UPDATED:       {text: job + `has priority {{or .priority 0}} in pool {{.pool}} now` + asked},
		tandemv1.Event_TYPE_JOB_COMPLETED:     {text: job + `is completed`},
		tandemv1.Event_TYPE_JOB_FAILED:        {text: job + `failed: {{sentence .cause}}`},
		tandemv1.Event_TYPE_JOB_CANCELLED:     {text: job + `was cancelled` + by},
		tandemv1.Event_TYPE_JOB_STARTED:       {text: job + `starts on {{.nodes}} with {{count .workers "worker"}} from {{from .step}}`},
		tandemv1.Event_TYPE_JOB_PUBLISHING:    {text: job + `publishes on {{.nodes}} (generation {{.generation}})`},
		tandemv1.Event_TYPE_JOB_TRAINED:       {text: job + `is trained and waits to publish its best checkpoint`},
		tandemv1.Event_TYPE_JOB_NOT_PUBLISHED: {text: job + `has no checkpoint, so nothing is published`},
		tandemv1.Event_TYPE_JOB_NOTE:          {text: `job {{.name}}{{with .trial}}, trial {{.}}{{end}}: {{sentence .text}}`},

		tandemv1.Event_TYPE_GROUP_COMMITTED: {text: job + `trains on {{.nodes}} with {{count .ranks "rank"}} (generation {{.generation}}){{with .cause}}: {{.}}{{end}}`},
		tandemv1.Event_TYPE_GROUP_RELAYING:  {text: job + `passes its state along on {{.nodes}} with {{count .ranks "rank"}} (generation {{.generation}}){{with .cause}}: {{.}}{{end}}`},
		tandemv1.Event_TYPE_GROUP_BROKEN:    {text: job + `has a process group that broke: {{.cause}}`},
		tandemv1.Event_TYPE_RANKS_LOST:      {text: job + `lost {{if eq .ranks "1"}}one{{else}}{{.ranks}}{{end}} of its ranks: {{.cause}}`},
		tandemv1.Event_TYPE_WORKERS_LOST:    {text: job + `lost {{count .workers "worker"}} that had no rank yet: {{.cause}}`},
		tandemv1.Event_TYPE_ALL_RANKS_LOST:  {text: job + `lost its ranks: {{sentence .cause}} It goes on from {{if .publishes}}the start of publishing{{else}}{{from .step}}{{end}}`},
		tandemv1.Event_TYPE_WORKERS_ADDED:   {text: job + `prepares {{count .workers "worker"}} more on {{.nodes}}`},
		tandemv1.Event_TYPE_GROUP_STOPPING:  {text: job + `stops with a checkpoint and waits for slots: {{.cause}}`},

		tandemv1.Event_TYPE_TRIAL_FAILED:     {text: job + `failed: {{.cause}}`},
		tandemv1.Event_TYPE_SEARCH_FINISHED:  {text: job + `has searched enough: {{.cause}}`},
		tandemv1.Event_TYPE_SWEEP_EXHAUSTED:  {text: job + `has reached a limit: {{.cause}}`},
		tandemv1.Event_TYPE_SWEEP_EXTENDED:   {text: job + `may make {{count .trials "trial"}}` + asked},
		tandemv1.Event_TYPE_SWEEP_PUBLISHING: {text: `job {{.name}} waits to publish the best checkpoint of trial {{.best}}, its best`},

		tandemv1.Event_TYPE_NODE_JOINED:     {text: `node {{.name}} joined pool {{.pool}} with {{count .slots "slot"}}`},
		tandemv1.Event_TYPE_NODE_BACK:       {text: `node {{.name}} is back`},
		tandemv1.Event_TYPE_AGENT_RESTARTED: {text: `the agent of node {{.name}} was started again`},
		tandemv1.Event_TYPE_NODE_LOST:       {text: `node {{.name}} was lost; its work is placed elsewhere`},
		tandemv1.Event_TYPE_AGENT_STOPPED:   {text: `the agent of node {{.name}} was stopped; its work is placed elsewhere`},
		tandemv1.Event_TYPE_NODE_CORDONED:   {text: `node {{.name}} takes no new work` + asked + told},
		tandemv1.Event_TYPE_NODE_DRAINED:    {text: `node {{.name}} takes no new work, and what trains there goes elsewhere{{with .deadline}} within {{seconds .}}{{end}}` + asked + told},
		tandemv1.Event_TYPE_NODE_UNCORDONED: {text: `node {{.name}} takes new work again` + asked},
		tandemv1.Event_TYPE_NODE_REMOVED:    {text: `node {{.name}} was removed` + by},
		tandemv1.Event_TYPE_NODE_FAULTY: {
			text: `node {{.name}} cannot run engines: {{sentence .cause}} Nothing is placed there for {{seconds .pause}}, and no job is charged a restart`,
			cli:  `when it is mended, let it take work at once with: tandem node uncordon {{.name}}`,
		},
		tandemv1.Event_TYPE_NODE_RECOVERED: {text: `node {{.name}} runs engines again`},
		tandemv1.Event_TYPE_NODE_DISK_FULL: {
			text: `node {{.name}} takes no new work: {{sentence .cause}} ` +
				`What runs there goes on; free some space, and the node takes work again by itself`,
		},
		tandemv1.Event_TYPE_NODE_DISK_WRITABLE: {text: `the disk of node {{.name}} can be written again, and the node takes work`},
		tandemv1.Event_TYPE_NODES_PARTED:       {text: `{{sentence .cause}} No job has workers on both for {{seconds .pause}}`},
		tandemv1.Event_TYPE_NODES_REACHED:      {text: `node {{.name}} reaches the other nodes of its job again`},

		tandemv1.Event_TYPE_COORDINATOR_VERSION: {text: `coordinator {{.name}} runs version {{.version}} (feature level {{.level}})`},
		tandemv1.Event_TYPE_LEVEL_RAISED:        {text: `the cluster is at feature level {{.level}}: all coordinators know it`},
		tandemv1.Event_TYPE_ENTRY_QUARANTINED:   {text: `entry {{.index}} of the log could not be applied and is skipped (SHA-256 {{.sha256}})`},

		tandemv1.Event_TYPE_CHECKPOINT_COMMITTED: {text: `checkpoint at step {{.step}}{{if .best}}, the best so far{{end}}`},
		tandemv1.Event_TYPE_CHECKPOINT_DELETED:   {text: `the checkpoint at step {{.step}} was deleted`},

		tandemv1.Event_TYPE_VERSION_PUBLISHED: {text: `job {{.job_name}} published {{.name}}@{{.version}}{{with .aliases}} as {{.}}{{end}}`},
		tandemv1.Event_TYPE_ALIAS_KEPT:        {text: `{{.cause}}`},
		tandemv1.Event_TYPE_ALIAS_MOVED:       {text: `alias {{.alias}} of model {{.name}} was moved to version {{.version}}` + by},
		tandemv1.Event_TYPE_ALIAS_REMOVED:     {text: `alias {{.alias}} of model {{.name}} was removed` + by},

		tandemv1.Event_TYPE_DATASET_CREATED: {text: `dataset {{.name}}@{{.version}} was created`},

		tandemv1.Event_TYPE_DEPLOYMENT_CHANGED:  {text: `deployment {{.name}} is to serve version {{.version}} with {{count .replicas "replica"}}` + asked},
		tandemv1.Event_TYPE_DEPLOYMENT_FOLLOWED: {text: `deployment {{.name}} follows alias {{.alias}} to version {{.version}}`},
		tandemv1.Event_TYPE_DEPLOYMENT_REMOVED:  {text: `deployment {{.name}} was stopped` + by},
		tandemv1.Event_TYPE_DEPLOYMENT_DOWN:     {text: `model {{.name}} has no ready replica{{with .cause}}: {{.}}{{end}}`},
		tandemv1.Event_TYPE_DEPLOYMENT_UP:       {text: `model {{.name}} has a ready replica again, after {{seconds .down}}`},
		tandemv1.Event_TYPE_REPLICA_PLACED:      {text: `a replica of {{.name}}@{{.version}} starts on {{.node}}`},
		tandemv1.Event_TYPE_REPLICA_READY:       {text: `a replica of {{.name}}@{{.version}} on {{.node}} is ready`},
		tandemv1.Event_TYPE_REPLICA_FAILED:      {text: `a replica of {{.name}}@{{.version}} on {{.node}} failed: {{sentence .cause}}`},
	}
}
