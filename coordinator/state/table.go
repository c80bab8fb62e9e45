package state

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Names of the tables.
const (
	metaTable       = "meta"
	clusterTable    = "cluster"
	nodeTable       = "node"
	jobTable        = "job"
	trialTable      = "trial"
	allocationTable = "allocation"
	rendezvousTable = "rendezvous"
	checkpointTable = "checkpoint"
	datasetTable    = "dataset"
	modelTable      = "model"
	versionTable    = "version"
	deploymentTable = "deployment"
	replicaTable    = "replica"
	tokenTable      = "token"
	eventTable      = "event"
	requestTable    = "request"
	removedTable    = "removed_node"
	sweepTable      = "sweep"
	sweepEventTable = "sweep_event"
)

// schema lists every table and index. Each "id" is RowID.
func schema() *memdb.DBSchema {
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		metaTable:    table(metaTable, func(*meta) string { return "" }),
		clusterTable: table(clusterTable, (*tandemv1.Cluster).GetId),
		nodeTable: table(nodeTable, (*tandemv1.Node).GetId,
			index("name", func(n *tandemv1.Node) []string { return []string{n.GetName()} })),
		jobTable: table(jobTable, (*tandemv1.Job).GetId,
			index("name", func(j *tandemv1.Job) []string { return []string{j.GetName()} }),
			index("created", func(j *tandemv1.Job) []string { return []string{timeKey(j.GetCreatedAt())} })),
		trialTable: table(trialTable, (*tandemv1.Trial).GetId,
			index("job", func(t *tandemv1.Trial) []string { return []string{t.GetJobId()} }),
			index("state", openTrial),
			index("number", numbered),
			index("start", startOf)),
		allocationTable: table(allocationTable, (*tandemv1.Allocation).GetId,
			index("node", allocationNodes)),
		rendezvousTable: table(rendezvousTable, (*tandemv1.RendezvousEntry).GetId,
			index("allocation", func(e *tandemv1.RendezvousEntry) []string { return []string{e.GetAllocationId()} })),
		checkpointTable: table(checkpointTable, (*tandemv1.Checkpoint).GetId,
			index("trial", func(c *tandemv1.Checkpoint) []string { return []string{c.GetTrialId()} }),
			index("created", func(c *tandemv1.Checkpoint) []string { return []string{timeKey(c.GetCreatedAt())} })),
		datasetTable: table(datasetTable, (*tandemv1.Dataset).GetId,
			index("name", func(d *tandemv1.Dataset) []string { return []string{join(d.GetName(), number(d.GetVersion()))} })),
		modelTable: table(modelTable, (*tandemv1.Model).GetName),
		versionTable: table(versionTable, (*tandemv1.Version).GetId,
			index("model", func(v *tandemv1.Version) []string { return []string{join(v.GetModel(), number(v.GetNumber()))} })),
		deploymentTable: table(deploymentTable, (*tandemv1.Deployment).GetName),
		replicaTable: table(replicaTable, (*tandemv1.Replica).GetId,
			index("deployment", func(r *tandemv1.Replica) []string { return []string{r.GetDeployment()} }),
			index("node", func(r *tandemv1.Replica) []string { return []string{r.GetNodeId()} })),
		tokenTable: table(tokenTable, (*tandemv1.Token).GetId,
			index("name", func(t *tandemv1.Token) []string { return []string{t.GetName()} }),
			index("sha256", func(t *tandemv1.Token) []string { return []string{t.GetSha256()} })),
		eventTable: table(eventTable, (*tandemv1.Event).GetId,
			index("job", func(e *tandemv1.Event) []string { return []string{e.GetJobId()} })),
		requestTable: table(requestTable, (*tandemv1.RequestRecord).GetRequestId),
		removedTable: table(removedTable, (*tandemv1.RemovedNode).GetId),
		sweepTable:   table(sweepTable, (*tandemv1.Sweep).GetId),
		sweepEventTable: table(sweepEventTable, (*tandemv1.SweepEvent).GetId,
			index("allocation", func(e *tandemv1.SweepEvent) []string { return []string{e.GetEnded().GetAllocationId()} })),
	}}
}

// tableOf returns the table of a row.
func tableOf(row proto.Message) (string, bool) {
	switch row.(type) {
	case *tandemv1.Cluster:
		return clusterTable, true
	case *tandemv1.Node:
		return nodeTable, true
	case *tandemv1.Job:
		return jobTable, true
	case *tandemv1.Trial:
		return trialTable, true
	case *tandemv1.Allocation:
		return allocationTable, true
	case *tandemv1.RendezvousEntry:
		return rendezvousTable, true
	case *tandemv1.Checkpoint:
		return checkpointTable, true
	case *tandemv1.Dataset:
		return datasetTable, true
	case *tandemv1.Model:
		return modelTable, true
	case *tandemv1.Version:
		return versionTable, true
	case *tandemv1.Deployment:
		return deploymentTable, true
	case *tandemv1.Replica:
		return replicaTable, true
	case *tandemv1.Token:
		return tokenTable, true
	case *tandemv1.Event:
		return eventTable, true
	case *tandemv1.RequestRecord:
		return requestTable, true
	case *tandemv1.RemovedNode:
		return removedTable, true
	case *tandemv1.Sweep:
		return sweepTable, true
	case *tandemv1.SweepEvent:
		return sweepEventTable, true
	}
	return "", false
}

// RowID returns the identity of a row, by which its table is ordered.
func RowID(row proto.Message) string {
	switch r := row.(type) {
	case *tandemv1.RequestRecord:
		return r.GetRequestId()
	case interface{ GetId() string }:
		return r.GetId()
	case interface{ GetName() string }:
		return r.GetName()
	}
	return ""
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
