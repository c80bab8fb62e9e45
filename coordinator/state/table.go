package state

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Names of the tables: those of the fields of SnapshotRecord.
const (
	metaTable        = "meta"
	clusterTable     = "cluster"
	nodeTable        = "node"
	jobTable         = "job"
	trialTable       = "trial"
	allocationTable  = "allocation"
	rendezvousTable  = "rendezvous"
	checkpointTable  = "checkpoint"
	datasetTable     = "dataset"
	modelTable       = "model"
	versionTable     = "version"
	deploymentTable  = "deployment"
	replicaTable     = "replica"
	tokenTable       = "token"
	eventTable       = "event"
	requestTable     = "request"
	removedTable     = "removed_node"
	sweepTable       = "sweep"
	sweepEventTable  = "sweep_event"
	coordinatorTable = "coordinator"
	programTable     = "program"
	garbageTable     = "garbage"
	numberingTable   = "numbering"
	quarantinedTable = "quarantined_entry"
	projectTable     = "project"
	poolPolicyTable  = "pool_policy"
	usageTable       = "usage"
)

// tables makes a table of each kind of row, with the identity (RowID) as index "id" and what else rows are found by.
func tables() *memdb.DBSchema {
	others := lookups()
	all := map[string]*memdb.TableSchema{metaTable: table(metaTable, func(*meta) string { return "" })}
	for _, kind := range kinds() {
		name := string(kind.Record.Name())
		all[name] = table(name, RowID, others[name]...)
	}
	return &memdb.DBSchema{Tables: all}
}

// lookups are the ways to find rows by other keys than their identity.
func lookups() map[string][]*memdb.IndexSchema {
	return map[string][]*memdb.IndexSchema{
		nodeTable: {index("name", func(n *tandemv1.Node) []string { return []string{n.GetName()} })},
		jobTable: {
			index("name", func(j *tandemv1.Job) []string { return []string{Key(j.GetProject(), j.GetName())} }),
			index("created", func(j *tandemv1.Job) []string { return []string{timeKey(j.GetCreatedAt())} }),
			index("source", sourceOf),
			index("after", awaited),
		},
		trialTable: {
			index("job", func(t *tandemv1.Trial) []string { return []string{t.GetJobId()} }),
			index("state", openTrial),
			index("number", numbered),
			index("start", startOf),
		},
		allocationTable: {
			index("node", allocationNodes),
			index("resume", func(a *tandemv1.Allocation) []string { return []string{a.GetResumeCheckpointId()} }),
		},
		rendezvousTable: {index("allocation", func(e *tandemv1.RendezvousEntry) []string { return []string{e.GetAllocationId()} })},
		checkpointTable: {
			index("trial", func(c *tandemv1.Checkpoint) []string { return []string{c.GetTrialId()} }),
			index("created", func(c *tandemv1.Checkpoint) []string { return []string{timeKey(c.GetCreatedAt())} }),
		},
		datasetTable: {index("name", func(d *tandemv1.Dataset) []string {
			return []string{join(Key(d.GetProject(), d.GetName()), number(d.GetVersion()))}
		})},
		versionTable: {index("model", func(v *tandemv1.Version) []string {
			return []string{join(Key(v.GetProject(), v.GetModel()), number(v.GetNumber()))}
		})},
		replicaTable: {
			index("deployment", func(r *tandemv1.Replica) []string { return []string{r.GetDeployment()} }),
			index("node", func(r *tandemv1.Replica) []string { return []string{r.GetNodeId()} }),
		},
		tokenTable: {
			index("name", func(t *tandemv1.Token) []string { return []string{t.GetName()} }),
			index("sha256", func(t *tandemv1.Token) []string { return []string{t.GetSha256()} }),
		},
		eventTable:      {index("job", func(e *tandemv1.Event) []string { return []string{e.GetJobId()} })},
		sweepEventTable: {index("allocation", func(e *tandemv1.SweepEvent) []string { return []string{e.GetEnded().GetAllocationId()} })},
	}
}

// kinds are the rows of the state by the name of their message. They stand in snapshot.proto.
var kinds = sync.OnceValue(func() map[protoreflect.FullName]schema.Row {
	all := map[protoreflect.FullName]schema.Row{}
	for _, r := range schema.Rows() {
		all[r.Record.Message().FullName()] = r
	}
	return all
})

// tableOf returns the table of a row.
func tableOf(row proto.Message) (string, bool) {
	kind, ok := kinds()[row.ProtoReflect().Descriptor().FullName()]
	if !ok {
		return "", false
	}
	return string(kind.Record.Name()), true
}

// RowID returns the identity of a row, by which its table is ordered; empty for a message that is not a row. A name is one
// within its project.
func RowID(row proto.Message) string {
	kind, ok := kinds()[row.ProtoReflect().Descriptor().FullName()]
	if !ok {
		return ""
	}
	m := row.ProtoReflect()
	id := m.Get(kind.Key).String()
	if project := m.Descriptor().Fields().ByName("project"); project != nil && kind.Key.Name() == "name" {
		return Key(m.Get(project).String(), id)
	}
	return id
}

// Rows returns all rows of a kind by identity.
func (v *View) Rows(kind schema.Row) []proto.Message {
	return all[proto.Message](v, string(kind.Record.Name()))
}

// setModifiedIndex writes modified_index where the row has one.
func setModifiedIndex(row proto.Message, index uint64) {
	m := row.ProtoReflect()
	if f := m.Descriptor().Fields().ByName("modified_index"); f != nil {
		m.Set(f, protoUint64(index))
	}
}

func table[T any](name string, id func(T) string, others ...*memdb.IndexSchema) *memdb.TableSchema {
	s := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{
		"id": {Name: "id", Unique: true, Indexer: single[T]{id}},
	}}
	for _, x := range others {
		s.Indexes[x.Name] = x
	}
	return s
}

// index is a way to find rows by any of their keys; a key "" is not entered.
func index[T any](name string, keys func(T) []string) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: multi[T]{keys}}
}

// single and multi order rows by strings, each ended by a zero byte so that one is never the beginning of another.
type single[T any] struct{ key func(T) string }

type multi[T any] struct{ keys func(T) []string }

var errArgs = errors.New("an index takes one string")

func (x single[T]) FromObject(raw any) (bool, []byte, error) {
	row, ok := raw.(T)
	if !ok {
		return false, nil, fmt.Errorf("a %T is not a row of this table", raw)
	}
	return true, []byte(x.key(row) + "\x00"), nil
}

func (x single[T]) FromArgs(args ...any) ([]byte, error) { return fromArgs(args, "\x00") }

func (x single[T]) PrefixFromArgs(args ...any) ([]byte, error) { return fromArgs(args, "") }

func (x multi[T]) FromObject(raw any) (bool, [][]byte, error) {
	row, ok := raw.(T)
	if !ok {
		return false, nil, fmt.Errorf("a %T is not a row of this table", raw)
	}
	var keys [][]byte
	for _, k := range x.keys(row) {
		if k != "" {
			keys = append(keys, []byte(k+"\x00"))
		}
	}
	return len(keys) > 0, keys, nil
}

func (x multi[T]) FromArgs(args ...any) ([]byte, error) { return fromArgs(args, "\x00") }

func (x multi[T]) PrefixFromArgs(args ...any) ([]byte, error) { return fromArgs(args, "") }

func fromArgs(args []any, end string) ([]byte, error) {
	if len(args) != 1 {
		return nil, errArgs
	}
	key, ok := args[0].(string)
	if !ok {
		return nil, errArgs
	}
	return []byte(key + end), nil
}

// join makes a key of two parts; rows of the same first part are found by the prefix join(first, "").
func join(first, second string) string { return strings.Join([]string{first, second}, "\x00") }

// number writes a non-negative number so that strings order as numbers do.
func number(n int64) string { return fmt.Sprintf("%020d", n) }
