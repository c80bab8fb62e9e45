package node

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/queue"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Shell is what the commands need of the program around them.
type Shell struct {
	// Call makes a command's function that needs the cluster.
	Call func(func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error
	// Want checks that so many arguments are given.
	Want func(arguments ...string) cobra.PositionalArgs
	// Names completes names of nodes.
	Names cobra.CompletionFunc
	// Confirm asks before something is taken away.
	Confirm func(question string) error
	// RequestID names a change.
	RequestID func() string
	// Age, Moment, Date and Size write for people.
	Age, Moment, Date func(*timestamppb.Timestamp) string
	Size              func(bytes int64) string
	// Sandbox says what confines the engines of a node.
	Sandbox func(*tandemv1.Node) string
	// Say tells the person, not the pipe.
	Say func(format string, args ...any)
	// Show writes an answer: m for programs, the rest for people.
	Show func(m proto.Message, text string, facts [][2]string, tables ...Table) error
}

// Table is a table for people.
type Table struct {
	Title  string
	Header []string
	// Wide is how many of the last columns are shown only when all is wanted.
	Wide int
	Rows [][]string
	// Empty is what is said when there are no rows.
	Empty string
}

// Commands are those below "tandem node".
func (s Shell) Commands() []*cobra.Command {
	return []*cobra.Command{
		s.list(), s.describe(),
		s.cordon(), s.drain(), s.uncordon(), s.label(), s.slot("disable-slot", true), s.slot("enable-slot", false), s.remove(),
	}
}

func number[T ~int | ~int32](n T) string { return strconv.Itoa(int(n)) }

func (s Shell) list() *cobra.Command {
	req := &tandemv1.ListNodesRequest{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes",
		Args:  s.Want(),
		RunE: s.Call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Nodes.ListNodes(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			t := Table{
				Header: []string{"ID", "NAME", "POOL", "STATE", "SLOTS", "USED", "AGE", "REASON", "LABELS", "ADDRESS", "AGENT", "LIBTORCH"},
				Wide:   4,
				Empty:  "No nodes. Add one: tandem token create --join --role worker, then tandem worker on the machine",
			}
			for _, u := range res.Msg.GetNodes() {
				n := u.GetNode()
				t.Rows = append(t.Rows, []string{
					n.GetId(), n.GetName(), n.GetPool(), State(n), number(len(n.GetSlots())), number(u.GetSlotsUsed()),
					s.Age(n.GetJoinedAt()), n.GetCordonReason(), queue.Labels(n.GetLabels()),
					n.GetAddress(), n.GetAgentVersion(), n.GetLibtorchVersion(),
				})
			}
			return s.Show(res.Msg, "", nil, t)
		}),
	}
	cmd.Flags().StringVar(&req.Pool, "pool", "", "only this pool")
	return cmd
}

// Clock is how far a clock is off; empty: it is right, for all that is known.
func Clock(offset *durationpb.Duration) string {
	d := offset.AsDuration().Round(time.Second)
	switch {
	case d > 0:
		return d.String() + " ahead"
	case d < 0:
		return (-d).String() + " behind"
	}
	return ""
}

// State is the state of a node, and why it takes no work.
func State(n *tandemv1.Node) string {
	switch {
	case n.GetDraining():
		return plain.Word(n.GetState()) + ", draining"
	case n.GetCordoned():
		return plain.Word(n.GetState()) + ", cordoned"
	case len(n.GetFullFolders()) > 0:
		return plain.Word(n.GetState()) + ", disk full"
	case n.GetFault() != nil:
		return plain.Word(n.GetState()) + ", faulty"
	}
	return plain.Word(n.GetState())
}

// deadline is when the drain of a node has to be over; empty: it has the time it takes.
func deadline(n *tandemv1.Node) string {
	if n.GetDrainDeadline() == nil {
		return ""
	}
	return n.GetDrainDeadline().AsTime().Local().Format(time.DateTime)
}

// slotState says that a slot takes no work, and why; empty: it does.
func slotState(n *tandemv1.Node, slot string) string {
	for _, d := range n.GetDisabledSlots() {
		if d.GetSlotId() == slot && d.GetReason() != "" {
			return "disabled: " + d.GetReason()
		} else if d.GetSlotId() == slot {
			return "disabled"
		}
	}
	return ""
}

// disk says in which folders of a node nothing can be written; empty: there are none.
func disk(n *tandemv1.Node) string {
	var full []string
	for _, f := range n.GetFullFolders() {
		full = append(full, f.GetPath()+": "+f.GetCause())
	}
	if len(full) == 0 {
		return ""
	}
	return "takes no new work until something can be written in " + strings.Join(full, ", ")
}

func (s Shell) describe() *cobra.Command {
	return &cobra.Command{
		Use:               "describe NODE",
		Short:             "Show a node, its slots and what runs there",
		Args:              s.Want("NODE"),
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Nodes.GetNode(ctx, connect.NewRequest(&tandemv1.GetNodeRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			u, n := res.Msg.GetNode(), res.Msg.GetNode().GetNode()
			slots := Table{Title: "Slots", Header: []string{"SLOT", "DEVICE", "NAME", "THREADS", "MEMORY", "STATE"}}
			for _, slot := range n.GetSlots() {
				memory := ""
				if slot.GetMemoryBytes() > 0 {
					memory = s.Size(slot.GetMemoryBytes())
				}
				slots.Rows = append(slots.Rows, []string{
					slot.GetId(), slot.GetDevice(), slot.GetName(), number(slot.GetThreads()), memory, slotState(n, slot.GetId()),
				})
			}
			work := Table{Title: "Running here", Header: []string{"ID"}}
			for _, id := range append(u.GetAllocationIds(), u.GetReplicaIds()...) {
				work.Rows = append(work.Rows, []string{id})
			}
			return s.Show(res.Msg, "", [][2]string{
				{"Node", n.GetId()}, {"Name", n.GetName()}, {"Pool", n.GetPool()}, {"State", State(n)}, {"Reason", n.GetCordonReason()},
				{"Drained by", deadline(n)}, {"Labels", queue.Labels(n.GetLabels())},
				{"Since", s.Moment(n.GetStateChangedAt())}, {"Joined", s.Moment(n.GetJoinedAt())}, {"Address", n.GetAddress()},
				{"Clock", Clock(n.GetClockOffset())}, {"Certificate ends", s.Date(n.GetCertificateExpiresAt())},
				{"Agent", n.GetAgentVersion()}, {"libtorch", n.GetLibtorchVersion()}, {"Sandbox", s.Sandbox(n)},
				{"Fault", n.GetFault().GetCause()}, {"Disk", disk(n)},
				{"Slots used", fmt.Sprintf("%d of %d", u.GetSlotsUsed(), len(n.GetSlots()))},
			}, slots, work)
		}),
	}
}

func (s Shell) remove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Forget a node that is lost; its certificate is refused from then on",
		Long: `Forget a node that is lost; its certificate is refused from then on. With --force also one that is alive, such as a machine that
you cannot log in to: what it runs is placed elsewhere at once, and its agent ends as soon as it hears of it. It still knows the
gossip key and, if it ran work, the store's keys: replace them with "tandem cluster rotate-gossip-key" and "tandem store rotate".`,
		Args:              s.Want("NODE"),
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := s.Confirm(fmt.Sprintf("Remove node %s? To come back it needs a new join token.", args[0])); err != nil {
				return err
			}
			res, err := c.Nodes.RemoveNode(ctx, connect.NewRequest(&tandemv1.RemoveNodeRequest{Id: args[0], RequestId: s.RequestID(), Force: force}))
			if err != nil {
				return err
			}
			return s.Show(res.Msg, args[0]+" is removed", nil)
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "also when it is alive: it is shut out at once")
	return cmd
}
