package command

import (
	"slices"
	"strconv"
	"strings"
)

// Member is one process of a gang.
type Member struct {
	ID   string // of the member, unique in the gang
	Node string // that it runs on
	Host string // name or address by which the other nodes reach this one
}

// Rank is what one member is told, as torchrun would.
type Rank struct {
	Member     string
	Rank       int // from 0; those of a node follow each other
	LocalRank  int // from 0 on each node
	World      int // ranks in all
	LocalWorld int // ranks of this node
	Node       int // from 0: which of the gang's nodes it is
	Nodes      int
	MasterHost string // where rank 0 is
}

// Ranks numbers a gang: node by node in the order in which its nodes first occur, and on each in the order of its members. The first member
// is rank 0, whose host is the master.
func Ranks(gang []Member) []Rank {
	var nodes []string
	local := map[string][]Member{}
	for _, m := range gang {
		if len(local[m.Node]) == 0 {
			nodes = append(nodes, m.Node)
		}
		local[m.Node] = append(local[m.Node], m)
	}
	ranks := make([]Rank, 0, len(gang))
	for at, node := range nodes {
		for i, m := range local[node] {
			ranks = append(ranks, Rank{
				Member: m.ID, Rank: len(ranks), LocalRank: i, World: len(gang), LocalWorld: len(local[node]),
				Node: at, Nodes: len(nodes), MasterHost: gang[0].Host,
			})
		}
	}
	return ranks
}

// Run is what is the same for all ranks of one try.
type Run struct {
	ID          string // the same in each try
	Port        int    // where rank 0 listens, on the master's host
	Restarts    int    // tries before this one
	MaxRestarts int
}

// Environ is the environment of a rank: own, the user's and the agent's variables as in os.Environ, and what torchrun promises, which wins.
// TORCHELASTIC_USE_AGENT_STORE is never there: with it, rank 0 would look for a store of torchrun's and not listen itself.
func (r Rank) Environ(own []string, run Run) []string {
	promised := []string{
		"RANK=" + strconv.Itoa(r.Rank),
		"LOCAL_RANK=" + strconv.Itoa(r.LocalRank),
		"WORLD_SIZE=" + strconv.Itoa(r.World),
		"LOCAL_WORLD_SIZE=" + strconv.Itoa(r.LocalWorld),
		"GROUP_RANK=" + strconv.Itoa(r.Node),
		"GROUP_WORLD_SIZE=" + strconv.Itoa(r.Nodes),
		"MASTER_ADDR=" + r.MasterHost,
		"MASTER_PORT=" + strconv.Itoa(run.Port),
		"TORCHELASTIC_RUN_ID=" + run.ID,
		"TORCHELASTIC_RESTART_COUNT=" + strconv.Itoa(run.Restarts),
		"TORCHELASTIC_MAX_RESTARTS=" + strconv.Itoa(run.MaxRestarts),
	}
	taken := map[string]bool{"TORCHELASTIC_USE_AGENT_STORE": true}
	for _, kv := range promised {
		taken[nameOf(kv)] = true
	}
	kept := slices.DeleteFunc(slices.Clone(own), func(kv string) bool { return taken[nameOf(kv)] })
	return append(kept, promised...)
}

func nameOf(kv string) string {
	name, _, _ := strings.Cut(kv, "=")
	return name
}
