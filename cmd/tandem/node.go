package main

import (
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/node"
)

// nodes makes the commands about machines.
func (a *app) nodes() node.Shell {
	return node.Shell{
		Call: a.call, Want: want, Names: a.complete(nodeNames), Confirm: a.confirm, RequestID: a.newRequestID,
		Age: age, Moment: moment, Date: date, Size: size, Sandbox: sandboxText, Say: a.say,
		Show: func(m proto.Message, said string, facts [][2]string, tables ...node.Table) error {
			var parts []part
			if said != "" {
				parts = append(parts, text(said))
			}
			parts = append(parts, fields(facts))
			for _, t := range tables {
				parts = append(parts, grid{title: t.Title, header: t.Header, wide: t.Wide, rows: t.Rows, empty: t.Empty})
			}
			return a.show(m, parts...)
		},
	}
}
