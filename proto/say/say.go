package say

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Face is for whom a text is: which commands its advice names.
type Face int

const (
	// Plain is for all clients: it names no commands.
	Plain Face = iota
	// CLI is for users of the command line.
	CLI
)

// phrase is the text of one code. Both parts are templates over the arguments, without a full stop. An argument that may be missing is
// named by if, with or or only.
type phrase struct {
	text string
	// cli is what to do next on the command line.
	cli string
}

// parsed is a phrase that is ready for use.
type parsed struct{ text, cli *template.Template }

// phrases are the tables, ready for use.
var phrases = sync.OnceValue(func() (all struct {
	reasons map[tandemv1.Reason_Code]parsed
	events  map[tandemv1.Event_Type]parsed
}) {
	all.reasons, all.events = map[tandemv1.Reason_Code]parsed{}, map[tandemv1.Event_Type]parsed{}
	for code, p := range reasonPhrases() {
		all.reasons[code] = p.parse(code.String())
	}
	for _, table := range []map[tandemv1.Event_Type]phrase{eventPhrases(), memberPhrases(), deletionPhrases(), operatePhrases()} {
		for code, p := range table {
			all.events[code] = p.parse(code.String())
		}
	}
	return all
})

func (p phrase) parse(name string) parsed {
	return parsed{text: compile(name, p.text), cli: compile(name, p.cli)}
}

func compile(name, text string) *template.Template {
	if text == "" {
		return nil
	}
	return template.Must(template.New(name).Option("missingkey=zero").Funcs(template.FuncMap{
		"count": count, "from": from, "sentence": Sentence, "seconds": seconds, "lookup": lookup, "figure": figure, "plural": plural, "ranked": ranked, "nodes": nodes,
		"apart": apart, "date": date,
	}).Parse(text))
}

// Reason is the text of a reason: one or more sentences, "" for one without a code.
func Reason(r *tandemv1.Reason, f Face) string {
	if r.GetCode() == tandemv1.Reason_CODE_UNSPECIFIED {
		return ""
	}
	text, advised := phrased(r, f)
	if advised {
		return capital(text) // a full stop would be copied with the command
	}
	return Sentence(text)
}

// Clause is Reason without the full stop and with the first letter as it comes: what can follow a colon.
func Clause(r *tandemv1.Reason, f Face) string {
	if r.GetCode() == tandemv1.Reason_CODE_UNSPECIFIED {
		return ""
	}
	text, _ := phrased(r, f)
	return text
}

// phrased is the clause of a reason, and whether it ends with a command.
func phrased(r *tandemv1.Reason, f Face) (text string, advised bool) {
	p, known := phrases().reasons[r.GetCode()]
	if !known {
		return unknown(r.GetCode().String(), r.GetArgs(), r.GetCause(), f), false
	}
	return p.say(arguments(r.GetArgs(), r.GetCause(), f), f)
}

// Event is the text of an event: one or more sentences. That of one without a type is the message it was stored with.
func Event(e *tandemv1.Event, f Face) string {
	if e.GetType() == tandemv1.Event_TYPE_UNSPECIFIED {
		return e.GetMessage()
	}
	p, known := phrases().events[e.GetType()]
	if !known {
		return Sentence(unknown(e.GetType().String(), e.GetArgs(), e.GetCause(), f))
	}
	args := arguments(e.GetArgs(), e.GetCause(), f)
	args["name"], args["subject"], args["job"] = e.GetName(), e.GetSubject(), e.GetJobId()
	text, advised := p.say(args, f)
	if advised {
		return capital(text)
	}
	return Sentence(text)
}

// arguments are what a template is filled with. The cause is a clause.
func arguments(given map[string]string, cause *tandemv1.Reason, f Face) map[string]string {
	args := maps.Clone(given)
	if args == nil {
		args = map[string]string{}
	}
	if cause.GetCode() != tandemv1.Reason_CODE_UNSPECIFIED {
		args["cause"] = strings.TrimSuffix(Clause(cause, f), ".")
	}
	return args
}

// say is the text, and whether it ends with a command.
func (p parsed) say(args map[string]string, f Face) (text string, advised bool) {
	text = fill(p.text, args)
	if p.cli == nil || f != CLI {
		return text, false
	}
	if advice := fill(p.cli, args); advice != "" {
		return strings.TrimSuffix(text, ".") + "; " + advice, true
	}
	return text, false
}

// fill fills a template; TestEveryCodeCanBeSaid has seen that it can be.
func fill(t *template.Template, args map[string]string) string {
	var b strings.Builder
	if err := t.Execute(&b, args); err != nil {
		return fmt.Sprintf("%s %v", t.Name(), args)
	}
	return b.String()
}

// unknown shows a code of a newer program as it is.
func unknown(code string, args map[string]string, cause *tandemv1.Reason, f Face) string {
	text := code
	for _, k := range sorted(args) {
		text += fmt.Sprintf(" %s=%q", k, args[k])
	}
	if cause.GetCode() != tandemv1.Reason_CODE_UNSPECIFIED {
		text += ": " + Clause(cause, f)
	}
	return text
}

// Sentence makes a sentence of a clause.
func Sentence(s string) string {
	if s == "" {
		return "No reason was given."
	}
	s = capital(s)
	if last := s[len(s)-1]; last != '.' && last != '!' && last != '?' {
		s += "."
	}
	return s
}

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Count writes a number of things: "1 slot", "2 slots".
func Count(n int64, noun string) string { return count(strconv.FormatInt(n, 10), noun) }

// count writes a number of things: "1 slot", "2 slots".
func count(n, noun string) string {
	if n == "1" {
		return "1 " + noun
	}
	return n + " " + noun + "s"
}

// plural chooses between two words by a number.
func plural(n, one, many string) string {
	if n == "1" {
		return one
	}
	return many
}

// from says where a training goes on.
func from(step string) string {
	if step == "" || step == "0" {
		return "the beginning"
	}
	return "step " + step
}

// seconds writes a time as people do: "1m30s".
func seconds(s string) string {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s + "s"
	}
	return time.Duration(n * float64(time.Second)).String()
}

// apart says how far a clock is from another: "2h0m0s behind", "5m0s ahead of".
func apart(s string) string {
	if amount, behind := strings.CutPrefix(s, "-"); behind {
		return seconds(amount) + " behind"
	}
	return seconds(s) + " ahead of"
}

// date writes a time that is given in seconds since 1970.
func date(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return s
	}
	return time.Unix(n, 0).UTC().Format("2006-01-02 15:04 UTC")
}

// figure writes a measured value with six digits.
func figure(s string) string {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// ranked is a place in an order: the first has a name of its own.
func ranked(place, first, other string) string {
	if place == "1" {
		return first
	}
	return "number " + place + " of the " + other
}

// nodes counts the nodes that take no work by their causes: "1 cordoned node, 2 lost nodes".
func nodes(args map[string]string) string {
	var parts []string
	for _, cause := range []string{"cordoned", "draining", "faulty", "lost"} {
		if n := args[cause]; n != "" {
			parts = append(parts, count(n, cause+" node"))
		}
	}
	return strings.Join(parts, ", ")
}

// lookup is the command that lists what there is of a noun; "" for what users never name.
func lookup(noun string) string {
	switch noun {
	case "job", "sweep":
		return "tandem list"
	case "deployment":
		return "tandem serve list"
	case "checkpoint", "dataset", "model", "node", "project", "token":
		return "tandem " + noun + " list"
	}
	return ""
}
