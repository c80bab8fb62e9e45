package say

import (
	"maps"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// reasonPhrases is the text of each reason.
func reasonPhrases() map[tandemv1.Reason_Code]phrase {
	all := map[tandemv1.Reason_Code]phrase{}
	for _, some := range []map[tandemv1.Reason_Code]phrase{
		generalPhrases(), nodePhrases(), placePhrases(), faultPhrases(), servingPhrases(), checkpointPhrases(), jobRefusals(), modelRefusals(), latePhrases(), operateReasons(),
	} {
		maps.Copy(all, some)
	}
	return all
}

// generalPhrases are the texts of what can be about anything.
func generalPhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_TEXT: {text: `{{.text}}`},
		tandemv1.Reason_CODE_NOT_FOUND: {
			text: `{{.noun}} {{printf "%q" .name}} was not found{{with .near}}; the nearest name is {{.}}{{end}}`,
			cli:  `{{with lookup .noun}}see what there is with: {{.}}{{end}}`,
		},
		tandemv1.Reason_CODE_AMBIGUOUS: {
			text: `{{.noun}} {{printf "%q" .name}} is ambiguous: it can be {{.candidates}}; name one by its id`,
		},
		tandemv1.Reason_CODE_ALREADY_EXISTS: {text: `{{.noun}} {{.name}} already exists; choose another name or id`},
		tandemv1.Reason_CODE_FIELD_MISSING:  {text: `{{.field}} of the {{.noun}} is missing`},
		tandemv1.Reason_CODE_OUT_OF_RANGE:   {text: `{{.field}} of the {{.noun}} must be {{.min}} to {{.max}}, not {{.given}}`},
		tandemv1.Reason_CODE_REQUEST_ID_REUSED: {
			text: `request id {{printf "%q" .request}} was used before, for {{with .other}}another {{end}}{{.command}}: use a new one for each request, and the same one only to repeat it`,
		},
		tandemv1.Reason_CODE_NO_CLUSTER:     {text: `no cluster was founded here yet`},
		tandemv1.Reason_CODE_LEVEL_NOT_NEXT: {text: `the cluster is at feature level {{.current}}, which is raised by one at a time`},
		tandemv1.Reason_CODE_CLUSTER_EXISTS: {text: `this is cluster {{.cluster}} already; start a new cluster with another data folder`},
	}
}

// nodePhrases are the texts of nodes.
func nodePhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_NODE_LOST:       {text: `node {{.node}} was lost`},
		tandemv1.Reason_CODE_AGENT_STOPPED:   {text: `the agent of node {{.node}} was stopped`},
		tandemv1.Reason_CODE_AGENT_RESTARTED: {text: `the agent of node {{.node}} was started again`},
		tandemv1.Reason_CODE_NODE_ALIVE: {
			text: `node {{.node}} is alive; stop its agent, wait until the node is lost, then remove it`,
			cli:  `a machine that you cannot log in to is shut out with: tandem node remove --force {{.node}}`,
		},
		tandemv1.Reason_CODE_NODE_INCARNATION: {text: `node {{.node}} is at incarnation {{.current}}, not {{.given}}; end this session`},
		tandemv1.Reason_CODE_NODE_REMOVED: {
			text: `node {{.node}} was removed from the cluster: to use the machine again, empty the data folder of its agent and join with a new token`,
			cli:  `make one with: tandem token create --join --role worker`,
		},
		tandemv1.Reason_CODE_KEYS_CHANGED: {text: `the keys of the cluster are at version {{.current}}, not {{.given}}; look at them and try again`},
		tandemv1.Reason_CODE_KEYS_INVALID: {text: `of the CAs, and of the gossip keys, exactly one must be active`},
		tandemv1.Reason_CODE_STORE_AWAY:   {text: `the store does not serve{{with .cause}}: {{.}}{{end}}`},
		tandemv1.Reason_CODE_STORE_FULL:   {text: `the store is full{{with .cause}}: {{.}}{{end}}`},
		tandemv1.Reason_CODE_STORE_MOVED:  {text: `the bucket and the prefix of a cluster stay, for its objects do`},
		tandemv1.Reason_CODE_TOKEN_ENDED: {
			text: `the time of join token {{.token}} is over`,
			cli:  `make a new one with: tandem token create --join --role {{.role}}`,
		},
		tandemv1.Reason_CODE_CLIENT_TOKEN_ENDED: {
			text: `token {{.token}} ended at {{date .ended_at}}: ask an admin for another one`,
			cli:  `made with: tandem token create --role {{.role}}; it is given to the CLI with: tandem context add`,
		},
		tandemv1.Reason_CODE_TOKEN_USED_UP: {
			text: `join token {{.token}} was used for {{count .nodes "node"}}, as often as it is good for`,
			cli:  `make a new one with: tandem token create --join --role {{.role}} (--uses N for several nodes)`,
		},
		tandemv1.Reason_CODE_COORDINATOR_REMOVED: {
			text: `coordinator {{.coordinator}} was removed from the cluster: to use the machine again, empty its data folder and join with a new token`,
			cli:  `make one with: tandem token create --join --role coordinator`,
		},
		tandemv1.Reason_CODE_DRAIN_WITHOUT_CORDON: {text: `a node that is drained takes no new work: cordon it too`},
		tandemv1.Reason_CODE_NOT_A_COORDINATOR: {
			text: `{{.id}} is the node {{.node}}, not a coordinator`,
			cli:  `remove it with: tandem node remove {{.id}}`,
		},
		tandemv1.Reason_CODE_NODE_CORDONED:      {text: `node {{.node}} takes no new work`},
		tandemv1.Reason_CODE_NODE_FAULTY:        {text: `node {{.node}} could not run an engine: {{.cause}}`},
		tandemv1.Reason_CODE_NODE_DISK_FULL:     {text: `nothing can be written on node {{.node}}: {{.folders}}`},
		tandemv1.Reason_CODE_NODE_OF_OTHER_POOL: {text: `node {{.node}} is not in pool {{.pool}}`},
		tandemv1.Reason_CODE_SLOT_DISABLED: {
			text: `slot {{.slot}} of node {{.node}} takes no new work`,
			cli:  `let it take work again with: tandem node enable-slot {{.node}} {{.slot}}`,
		},
		tandemv1.Reason_CODE_NODE_LACKS_LABELS: {text: `node {{.node}} has not the labels {{.labels}}`},
		tandemv1.Reason_CODE_SLOT_UNKNOWN:      {text: `node {{.node}} has no slot {{.slot}}`},
		tandemv1.Reason_CODE_SLOT_HELD:         {text: `slot {{.slot}} of node {{.node}} is held by {{.holder}}`},
		tandemv1.Reason_CODE_SLOT_TWICE:        {text: `slot {{.slot}} of node {{.node}} is used twice`},
		tandemv1.Reason_CODE_NODES_PARTED: {
			text: `{{if .filtered}}nodes {{.node}} and {{.other}} reach each other's agents, but not each other's engines: let TCP through between them, both ways, on the ports that sysctl net.ipv4.ip_local_port_range shows there (32768 to 60999 unless somebody changed it){{else}}nodes {{.node}} and {{.other}} do not reach each other, though both reach the coordinators: check the network between them{{end}}`,
		},
	}
}

// placePhrases are the texts of why a job or trial is where it is.
func placePhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_WAITS_FOR_SLOTS: {text: `{{with .cause}}{{sentence .}} Waits{{else}}waits{{end}} to be placed{{if .again}} again{{end}}`},
		tandemv1.Reason_CODE_STARTING:        {text: `starts on {{.nodes}}`},
		tandemv1.Reason_CODE_TRAINING: {
			text: `trains on {{count .ranks "rank"}}{{with .wanted}} of {{.}} that it should have{{end}}{{with .cause}}: {{.}}{{end}}`,
		},
		tandemv1.Reason_CODE_RELAYING:             {text: `hands the state of the training on to other nodes: {{.cause}}`},
		tandemv1.Reason_CODE_REGROUPING:           {text: `{{sentence .cause}} The other ranks keep their state and form a group again`},
		tandemv1.Reason_CODE_REPLACING:            {text: `waits for a slot to replace a lost rank{{with .cause}}: {{.}}{{end}}`},
		tandemv1.Reason_CODE_STOPPING:             {text: `stops with a checkpoint, as {{or .by "a user"}} asked`},
		tandemv1.Reason_CODE_STOPPING_FOR:         {text: `stops with a checkpoint: {{.cause}}`},
		tandemv1.Reason_CODE_RESUMES_WHEN_STOPPED: {text: `goes on as soon as it has stopped`},
		tandemv1.Reason_CODE_GOES_ON:              {text: `{{sentence .cause}} Goes on from {{if .publishes}}the start of publishing{{else}}{{from .step}}{{end}}`},
		tandemv1.Reason_CODE_WAITS_TO_GO_ON:       {text: `waits to go on from {{if .publishes}}the start of publishing{{else}}{{from .step}}{{end}}`},
		tandemv1.Reason_CODE_PAUSED: {
			text: `{{if .trained}}trained; paused before publishing{{else}}paused{{end}}{{with .by}} by {{.}}{{end}}{{with .step}} at {{from .}}{{end}}`,
			cli:  `resume it with: tandem resume {{.job}}`,
		},
		tandemv1.Reason_CODE_CANCELLED:             {text: `cancelled by {{or .by "a user"}}`},
		tandemv1.Reason_CODE_STOPPED:               {text: `stopped by {{or .by "a user"}}`},
		tandemv1.Reason_CODE_WAITS_FOR_SEARCH:      {text: `waits for the search at {{from .step}}`},
		tandemv1.Reason_CODE_TRAINED:               {text: `trained`},
		tandemv1.Reason_CODE_TRAINED_NOT_PUBLISHED: {text: `trained; nothing was published, for it has no checkpoint`},
		tandemv1.Reason_CODE_WAITS_TO_PUBLISH:      {text: `{{with .trial}}waits to publish trial {{.}}{{else}}trained; waits to publish{{end}}`},
		tandemv1.Reason_CODE_PUBLISHING:            {text: `publishes`},
		tandemv1.Reason_CODE_PUBLISHED:             {text: `published {{.version}}`},
		tandemv1.Reason_CODE_RESTARTS_USED_UP: {
			text: `{{sentence .cause}} The limit of restarts without progress is used up (max_restarts: {{.limit}})`,
			cli:  `see the logs with: tandem logs {{.logs}}`,
		},
		tandemv1.Reason_CODE_NO_PROGRESS: {
			text: `{{with .cause}}{{sentence .}} {{end}}{{.generations}} generations in a row have ended without progress`,
			cli:  `see why with: tandem events --job {{.job}}`,
		},
		tandemv1.Reason_CODE_POOL_WITHOUT_NODES: {text: `pool {{printf "%q" .pool}} has no nodes`, cli: `start a worker with --pool {{.pool}}`},
		tandemv1.Reason_CODE_SLOTS_TOO_FEW: {
			text: `wants {{count .slots "slot"}}{{with .least}} ({{.}} are enough to begin){{end}}, but pool {{printf "%q" .pool}} has {{.available}}{{with .disabled}}, not counting {{.}} disabled{{end}}{{if or .out_of_reach .serving}} (and {{with .out_of_reach}}{{.}} on {{nodes $}}{{end}}{{if and .out_of_reach .serving}} and {{end}}{{with .serving}}{{.}} that serve models{{end}}){{end}}: {{if .out_of_reach}}bring those back, {{end}}{{if .serving}}stop serving one, {{end}}add workers or ask for fewer`,
			cli:  `{{if .out_of_reach}}see the nodes with: tandem node list{{end}}`,
		},
		tandemv1.Reason_CODE_SLOTS_PARTED: {
			text: `wants {{count .slots "slot"}}{{with .least}} ({{.}} are enough to begin){{end}}, but of {{.available}} in pool {{printf "%q" .pool}} only {{.near}} are on nodes that reach {{if .with}}those it is on{{else}}each other{{end}}: check the network between them, or add workers`,
			cli:  `see which with: tandem events`,
		},
		tandemv1.Reason_CODE_SLOTS_BUSY: {
			text: `wants {{count .slots "slot"}}{{with .least}} ({{.}} are enough to begin){{end}}{{with .labels}} on nodes with labels {{.}}{{end}}, {{.free}} of {{.available}} in pool {{printf "%q" .pool}} are free{{if or .out_of_reach .serving}} (not counting {{with .out_of_reach}}{{.}} on {{nodes $}}{{end}}{{if and .out_of_reach .serving}} and {{end}}{{with .serving}}{{.}} that {{plural . "serves" "serve"}} models{{end}}){{end}}{{with .near}}, but only {{.}} on nodes that reach {{if $.with}}those it is on{{else}}each other{{end}}{{end}}{{with .whole}}, and {{.}} on whole nodes{{end}}{{if .next}}: next in line{{end}}`,
		},
		tandemv1.Reason_CODE_WAITS_FOR_STORE: {text: `waits for the store{{with .cause}}: {{.}}{{end}}`},
		tandemv1.Reason_CODE_BEHIND: {
			text: `waits behind {{or .first_name .first}}, which {{if .priority}}has priority {{.priority}}{{else if .begun}}has not begun{{else if .share}}is next, for its project has had less of the pool{{else}}is older{{end}}`,
		},
		tandemv1.Reason_CODE_SEARCH_STARTING: {text: `the search begins`},
		tandemv1.Reason_CODE_SEARCH_DECIDING: {text: `waits for the search to decide`},
		tandemv1.Reason_CODE_SEARCH_OVER:     {text: `the search is over: {{.cause}}`},
		tandemv1.Reason_CODE_SWEEP_TRAINING:  {text: `{{count .trials "trial"}} {{plural .trials "trains" "train"}}; {{.made}} of at most {{.most}} made`},
		tandemv1.Reason_CODE_SWEEP_STOPPING:  {text: `{{count .trials "trial"}} {{plural .trials "stops" "stop"}} with a checkpoint, as a user asked`},
		tandemv1.Reason_CODE_SWEEP_WAITING:   {text: `{{count .trials "trial"}} {{plural .trials "waits" "wait, the first"}}: {{.cause}}`},
		tandemv1.Reason_CODE_SWEEP_RESUMED:   {text: `goes on`},
		tandemv1.Reason_CODE_SWEEP_NO_VALUE: {
			text: `{{with .cause}}{{sentence .}} {{end}}No trial gave a value of {{.metric}}`,
			cli:  `see why with: tandem sweep trials {{.job}}`,
		},
		tandemv1.Reason_CODE_SWEEP_FOUND: {
			text: `{{with .cause}}{{sentence .}} {{end}}Trial {{.best}} is the best of {{.made}}, with {{.metric}} {{figure .value}}{{with .percent}}, after {{.}} % of its training{{end}}`,
		},
		tandemv1.Reason_CODE_SWEEP_GAVE_UP: {
			text: `{{.cause}}`,
			cli:  `publish the best all the same with: tandem model publish {{.checkpoint}} --name MODEL`,
		},
		tandemv1.Reason_CODE_SWEEP_NOT_PUBLISHED: {text: `{{sentence .cause}} Nothing was published, for it has no checkpoint`},
		tandemv1.Reason_CODE_SWEEP_PUBLISHING:    {text: `{{sentence .cause}} It is being published`},
		tandemv1.Reason_CODE_SWEEP_PUBLISHED:     {text: `{{sentence .cause}} Published {{.version}}`},
		tandemv1.Reason_CODE_SWEEP_PUBLISH_FAILED: {
			text: `trial {{.best}} is the best of {{.made}}, with {{.metric}} {{figure .value}}. It could not be published: {{.cause}}`,
		},
		tandemv1.Reason_CODE_DEADLINE_PASSED: {text: `its deadline of {{.after}} has passed`},
		tandemv1.Reason_CODE_SLOT_HOURS_USED: {text: `its slots were held for {{.hours}} hours`},
		tandemv1.Reason_CODE_SPEC_INVALID:    {text: `its spec is not valid: {{.cause}}`},
	}
}

// faultPhrases are the texts of faults and of decisions about process groups.
func faultPhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_ENGINE_FAILED:    {text: `{{with .rank}}rank {{.}}{{else}}a worker{{end}} on {{.node}}: {{.text}}`},
		tandemv1.Reason_CODE_ENGINES_STOPPED:  {text: `the engines stopped though nobody asked them to`},
		tandemv1.Reason_CODE_ENGINE_ENDED:     {text: `the engine ended`},
		tandemv1.Reason_CODE_NO_VERSION:       {text: `the engine ended without having published a version`},
		tandemv1.Reason_CODE_NO_REPLAY_RESULT: {text: `the engines ended without a result of the replay`},
		tandemv1.Reason_CODE_RANK_SILENT: {
			text: `{{with .rank}}rank {{.}}{{else}}a worker that was to leave{{end}} did not answer when its group broke: it hangs or its machine is out of reach`,
		},
		tandemv1.Reason_CODE_NO_RANK_LEFT:             {text: `none of its ranks is left`},
		tandemv1.Reason_CODE_NO_STATE_LEFT:            {text: `none of its ranks is left that has the state of the training`},
		tandemv1.Reason_CODE_WORKER_LOST_BEFORE_START: {text: `a worker was lost before the first step, and no slot is free to replace it`},
		tandemv1.Reason_CODE_SURPLUS:                  {text: `it is no longer needed`},
		tandemv1.Reason_CODE_DID_NOT_LEAVE:            {text: `it did not leave when the others went on without it`},
		tandemv1.Reason_CODE_ITS_NODE_DRAINED:         {text: `its node is drained`},
		tandemv1.Reason_CODE_ITS_SLOT_DISABLED:        {text: `its slot takes no new work`},
		tandemv1.Reason_CODE_A_SLOT_DISABLED:          {text: `a slot takes no new work`},
		tandemv1.Reason_CODE_DRAIN_OVERDUE:            {text: `the time is over that the drain of node {{.node}} may take`},
		tandemv1.Reason_CODE_A_NODE_DRAINED:           {text: `a node is drained`},
		tandemv1.Reason_CODE_ALL_NODES_DRAINED:        {text: `all its nodes are drained`},
		tandemv1.Reason_CODE_NO_SLOT_ELSEWHERE:        {text: `a {{if .slot}}slot takes no new work{{else}}node is drained{{end}}, and no slot is free elsewhere`},
		tandemv1.Reason_CODE_NOT_REPLACED:             {text: `no slot came free to replace what was lost`},
		tandemv1.Reason_CODE_CHECKPOINT_AND_STOP:      {text: `they keep a checkpoint and stop`},
		tandemv1.Reason_CODE_GROWS:                    {text: `it grows from {{.from}}`},
		tandemv1.Reason_CODE_SHRINKS:                  {text: `it shrinks from {{.from}}`},
		tandemv1.Reason_CODE_GIVES_WAY:                {text: `it gives way to {{or .name .to}}, which {{if .loan}}was before it in the queue{{else}}has a higher priority{{end}}`},
		tandemv1.Reason_CODE_GOES_ON_WITHOUT:          {text: `the job goes on without {{.node}}, for {{.cause}}`},
	}
}

// servingPhrases are the texts of serving.
func servingPhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_ALIAS_KEPT: {
			text: `alias {{.alias}} stays at {{.kept}}: {{if .unmeasured}}it was not measured beside {{.version}}, for it was moved meanwhile{{else if .problem}}it could not be compared, {{.problem}}{{else if .without}}there is no {{.without}} of both on the same split{{else}}its {{.metric}} is {{figure .kept_value}}, that of {{.version}} {{figure .value}}{{end}}`,
			cli:  `move it all the same with: tandem model alias {{.version}} {{.alias}}`,
		},
		tandemv1.Reason_CODE_REPLICAS_UNPLACED: {text: `waits for its replicas to be placed`},
		tandemv1.Reason_CODE_REPLICAS_NO_SLOT: {
			text: `{{.missing}} of {{count .wanted "replica"}} wait for a free slot in pool {{printf "%q" .pool}}: end a job, or add a worker`,
		},
		tandemv1.Reason_CODE_REPLICAS_STARTING: {text: `{{.starting}} of {{count .wanted "replica"}} {{plural .starting "starts" "start"}}`},
		tandemv1.Reason_CODE_REPLICA_RETRIED:   {text: `a replica on {{.node}} failed and is tried again: {{.cause}}`},
	}
}

// checkpointPhrases are the texts of checkpoints.
func checkpointPhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_CHECKPOINT_NEEDED:     {text: `checkpoint {{.checkpoint}} is needed: {{.cause}}`},
		tandemv1.Reason_CODE_CHECKPOINT_RESUMED:    {text: `job {{.job}} resumes from it; cancel the job first`},
		tandemv1.Reason_CODE_CHECKPOINT_BEST:       {text: `it is the best of job {{.job}}, which has not ended; cancel the job first`},
		tandemv1.Reason_CODE_CHECKPOINT_PUBLISHED:  {text: `job {{.job}} publishes it; wait until the job ends or cancel it`},
		tandemv1.Reason_CODE_CHECKPOINT_STARTS:     {text: `trial {{.trial}} of job {{.job}} begins from it; wait until the job ends or cancel it`},
		tandemv1.Reason_CODE_CHECKPOINT_USED:       {text: `job {{.job}} runs from it; wait until the job ends or cancel it`},
		tandemv1.Reason_CODE_CHECKPOINT_REPLAYED:   {text: `job {{.job}} does the steps after it again; wait until the job ends or cancel it`},
		tandemv1.Reason_CODE_CHECKPOINT_NOT_MARKED: {text: `checkpoint {{.checkpoint}} was not marked for deletion`},
		tandemv1.Reason_CODE_CHECKPOINT_DELETING:   {text: `it is being deleted`},
		tandemv1.Reason_CODE_CHECKPOINT_SURPLUS:    {text: `neither among the best nor among the newest that checkpoint.keep says`},
		tandemv1.Reason_CODE_CHECKPOINT_KEPT: {
			text: `{{with .best}}{{ranked . (print "the best by " $.metric) (print "best by " $.metric)}}{{end}}{{if and .newest .best}}, and {{end}}{{with .newest}}{{ranked . "the newest" "newest"}}{{end}}`,
		},
		tandemv1.Reason_CODE_CHECKPOINT_OF_UNKNOWN_JOB: {text: `its job is not known`},
		tandemv1.Reason_CODE_CHECKPOINT_DIFFERS:        {text: `step {{.step}} of generation {{.generation}} has a checkpoint with another manifest`},
	}
}

// jobRefusals are the texts of why a command about a job is refused.
func jobRefusals() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_JOB_ENDED: {text: `{{.noun}} {{.name}} has ended ({{.state}}) and cannot be changed; submit it again to go on`},
		tandemv1.Reason_CODE_JOB_PUBLISHING: {
			text: `job {{.name}} is publishing its version, which takes seconds and cannot be paused; wait, or cancel it`,
		},
		tandemv1.Reason_CODE_JOB_ONE_WORKER: {text: `job {{.name}} publishes and has one worker`},
		tandemv1.Reason_CODE_WORKERS_OUT_OF_RANGE: {
			text: `job {{.name}} may have {{.min}} to {{.max}} workers (resources.min and resources.max of its spec), not {{.given}}`,
		},
		tandemv1.Reason_CODE_SWEEP_MAKES_TRIALS: {text: `a job of kind sweep makes its trials itself`},
		tandemv1.Reason_CODE_SWEEP_PAUSED:       {text: `sweep {{.name}} is paused`},
		tandemv1.Reason_CODE_SWEEP_DECIDED:      {text: `sweep {{.name}} was decided on up to event {{.current}}, not {{.given}}`},
		tandemv1.Reason_CODE_SWEEP_EVENTS:       {text: `sweep {{.name}} has events up to {{.newest}}: none are decided on from {{.first}} to {{.last}}`},
		tandemv1.Reason_CODE_SWEEP_DECISION: {
			text: `the decision about trial {{or .trial "?"}} cannot be carried out ({{.what}}); the next trial is {{.next}} of {{.most}}`,
		},
		tandemv1.Reason_CODE_SWEEP_ENDED: {
			text: `sweep {{.name}} has ended ({{.state}}) and cannot go on; submit another with search.warm_start: {{.job}}`,
		},
		tandemv1.Reason_CODE_SWEEP_EXHAUSTED: {
			text: `sweep {{.name}} has used up its deadline or its gpu_hours, which do not grow; submit another with search.warm_start: {{.job}}`,
		},
		tandemv1.Reason_CODE_SWEEP_PUBLISHES: {text: `sweep {{.name}} is publishing its best trial; extend it when that is done`},
		tandemv1.Reason_CODE_SWEEP_TRIALS:    {text: `sweep {{.name}} may make {{count .trials "trial"}} already; ask for more`},
		tandemv1.Reason_CODE_TRIAL_UNKNOWN:   {text: `sweep {{.job}} has no trial {{.trial}}`, cli: `see those it has with: tandem sweep trials {{.job}}`},
		tandemv1.Reason_CODE_NOT_A_SWEEP: {
			text: `job {{.name}} ({{.job}}) is not a sweep but a job of kind {{.kind}}`,
			cli:  `see what there is with: tandem list`,
		},
		tandemv1.Reason_CODE_NAME_A_TRIAL: {
			text: `job {{.job}} is a sweep: name one of its trials by its id, such as that of the best one`,
			cli:  `see the ids with: tandem sweep trials {{.job}} -o wide`,
		},
		tandemv1.Reason_CODE_TRIAL_ENDED: {text: `trial {{.trial}} has ended already ({{.state}})`},
		tandemv1.Reason_CODE_WALL_TIME_USED: {
			text: `it has held slots for {{seconds .wall}}, for as long as limits.wall of its spec lets it; its checkpoints stay`,
			cli:  `train it anew for longer with: tandem fork {{.job}} --set limits.wall=TIME`,
		},
		tandemv1.Reason_CODE_WAITS_FOR_JOBS: {
			text: `waits until {{.jobs}} {{if eq .count "1"}}is{{else}}are{{end}} completed`,
		},
		tandemv1.Reason_CODE_PREDECESSOR_ENDED: {
			text: `job {{.name}}, which it comes after, {{if eq .state "failed"}}has failed{{else}}was {{.state}}{{end}}: it cannot begin`,
			cli:  `see why with: tandem describe {{.job}}`,
		},
		tandemv1.Reason_CODE_TOO_MANY_LABELS: {
			text: `{{.noun}} {{.name}} may have {{.most}} labels; take some away with an empty value`,
		},
		tandemv1.Reason_CODE_JOB_HOLDS_SLOTS: {
			text: `job {{.name}} holds slots in pool {{.pool}}; pause it first, and resume it in the other pool`,
			cli:  `pause it first with: tandem pause {{.job}}`,
		},
		tandemv1.Reason_CODE_JOB_NOT_ENDED: {
			text: `job {{.job}} has not ended; wait until it has, or cancel it first`,
			cli:  `cancel it with: tandem cancel {{.job}}`,
		},
		tandemv1.Reason_CODE_JOB_NEEDED:    {text: `job {{.job}} cannot be deleted: {{.cause}}`},
		tandemv1.Reason_CODE_JOB_TOO_YOUNG: {text: `job {{.job}} ended later, at {{date .finished}}`},
	}
}

// modelRefusals are the texts of why a command about a model or token is refused.
func modelRefusals() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_VERSION_UNKNOWN: {
			text: `model {{.model}} has no {{with .version}}version {{.}}{{else}}alias {{printf "%q" .alias}}{{end}}{{with .newest}}, its newest version is {{.}}{{end}}`,
			cli:  `see those it has with: tandem model describe {{.model}}`,
		},
		tandemv1.Reason_CODE_ALIAS_SERVED:       {text: `deployment {{.name}} serves alias {{.alias}}; serve another version or stop serving first`},
		tandemv1.Reason_CODE_VERSION_DIFFERS:    {text: `version {{.version}} was published with another manifest`},
		tandemv1.Reason_CODE_NO_REPLICAS:        {text: `a deployment needs at least one replica; to stop serving, delete the deployment`},
		tandemv1.Reason_CODE_TOKEN_LAST:         {text: `token {{.name}} is the last one with role admin that does not end; make another one first`},
		tandemv1.Reason_CODE_TOKEN_SECRET_TAKEN: {text: `a token with this secret already exists`},
		tandemv1.Reason_CODE_VERSION_NEEDED:     {text: `version {{.version}} of model {{.model}} cannot be deleted: {{.cause}}`},
		tandemv1.Reason_CODE_VERSION_SERVED:     {text: `it is served; serve another version or stop serving first`},
		tandemv1.Reason_CODE_VERSION_ALIASED: {
			text: `alias {{.alias}} points to it; move the alias or remove it first`,
			cli:  `remove it with: tandem model alias {{.model}} {{.alias}} --remove`,
		},
		tandemv1.Reason_CODE_MODEL_NEEDED:    {text: `model {{.model}} cannot be deleted: {{.cause}}`},
		tandemv1.Reason_CODE_MODEL_PUBLISHED: {text: `job {{.job}} publishes to it; wait until the job ends or cancel it`},
		tandemv1.Reason_CODE_DATASET_NEEDED:  {text: `dataset {{.dataset}} cannot be deleted: {{.cause}}`},
		tandemv1.Reason_CODE_DATASET_USED:    {text: `job {{.job}} uses it; wait until the job ends or cancel it`},
		tandemv1.Reason_CODE_DATASET_SERVED:  {text: `{{.version}}, which is served, was trained on it, and its columns are read from there; stop serving first`},
		tandemv1.Reason_CODE_PROJECT_NEEDED: {text: `project {{.project}} cannot be deleted: {{count .number .noun}} ` +
			`{{plural .number "is" "are"}} in it; delete what is in it first`},
		tandemv1.Reason_CODE_PROJECT_STAYS: {text: `project {{.project}} always exists: what nobody has put elsewhere is in it`},
		tandemv1.Reason_CODE_DATASET_GONE:  {text: `dataset {{.dataset}} was deleted, and its files with it; begin another one`},
		tandemv1.Reason_CODE_DATASET_OF_CHECKPOINT_GONE: {
			text: `the dataset that checkpoint {{.checkpoint}} was trained on was deleted, and a version is measured on it`,
		},
	}
}

// latePhrases are the texts of what comes too late.
func latePhrases() map[tandemv1.Reason_Code]phrase {
	return map[tandemv1.Reason_Code]phrase{
		tandemv1.Reason_CODE_ENGINE_OVER:           {text: `the engine is no longer wanted; end it`},
		tandemv1.Reason_CODE_ENGINE_ELSEWHERE:      {text: `member {{.member}} of allocation {{.allocation}} is not on node {{.node}}; end the engine`},
		tandemv1.Reason_CODE_REPLICA_OVER:          {text: `the replica is no longer wanted here; end the engine`},
		tandemv1.Reason_CODE_REPLICA_FAILED_BEFORE: {text: `the replica has failed before; end the engine`},
		tandemv1.Reason_CODE_NOTHING_TRAINED:       {text: `nothing was trained yet; end the engine`},
		tandemv1.Reason_CODE_REPORT_UNKNOWN:        {text: `the report says nothing that is known here; run the same version on agents and coordinators`},
		tandemv1.Reason_CODE_OTHER_STAGE:           {text: `this allocation does not {{.stage}}; end the engine`},
		tandemv1.Reason_CODE_GENERATION_NOT_COMMITTED: {
			text: `generation {{.given}} is not the committed one{{with .allocation}} of allocation {{.}}{{end}}{{with .current}}, which is {{.}}{{end}}; wait for the next, or end the engine`,
		},
		tandemv1.Reason_CODE_WRONG_VERSION:     {text: `allocation {{.allocation}} makes version {{.version}}, not {{printf "%q" .given}}`},
		tandemv1.Reason_CODE_TRIAL_NOT_WAITING: {text: `trial {{.trial}} no longer waits for slots`},
		tandemv1.Reason_CODE_ALLOCATION_OVER:   {text: `allocation {{.allocation}} no longer trains`},
		tandemv1.Reason_CODE_ALLOCATION_CHANGED: {
			text: `the decision no longer fits allocation {{.allocation}}{{with .member}}, member {{.}}{{end}} ({{.what}})`,
		},
		tandemv1.Reason_CODE_REVISION_STALE: {text: `decided for revision {{.given}}, deployment {{.name}} is at {{.current}}`},
	}
}
