package say

import (
	"slices"
	"text/template"
	"text/template/parse"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ReasonNeeds are the arguments that a reason cannot be said without, EventNeeds those of an event; "cause" stands for what it follows
// from. Who makes them is checked against this.
func ReasonNeeds(code tandemv1.Reason_Code) []string {
	p := phrases().reasons[code]
	return slices.Compact(slices.Sorted(slices.Values(append(named(p.text, false), named(p.cli, false)...))))
}

// EventNeeds are the arguments that an event cannot be said without, but for those that each event has.
func EventNeeds(what tandemv1.Event_Type) []string {
	p := phrases().events[what]
	all := slices.Compact(slices.Sorted(slices.Values(append(named(p.text, false), named(p.cli, false)...))))
	return slices.DeleteFunc(all, func(name string) bool { return name == "name" || name == "subject" || name == "job" })
}

// named are the arguments that a template names; with optional, those too that it can do without.
func named(t *template.Template, optional bool) []string {
	var all []string
	var walk func(n parse.Node, needed bool)
	list := func(l *parse.ListNode, needed bool) {
		if l != nil {
			for _, n := range l.Nodes {
				walk(n, needed)
			}
		}
	}
	branch := func(b *parse.BranchNode) {
		walk(b.Pipe, false)
		list(b.List, false)
		list(b.ElseList, false)
	}
	walk = func(n parse.Node, needed bool) {
		switch n := n.(type) {
		case *parse.ActionNode:
			walk(n.Pipe, needed)
		case *parse.IfNode:
			branch(&n.BranchNode)
		case *parse.WithNode:
			branch(&n.BranchNode)
		case *parse.PipeNode:
			for _, c := range n.Cmds {
				walk(c, needed)
			}
		case *parse.CommandNode:
			id, call := n.Args[0].(*parse.IdentifierNode)
			for _, a := range n.Args {
				walk(a, needed && !(call && (id.Ident == "or" || id.Ident == "from")))
			}
		case *parse.FieldNode:
			if needed || optional {
				all = append(all, n.Ident[0])
			}
		}
	}
	if t != nil {
		list(t.Tree.Root, true)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
