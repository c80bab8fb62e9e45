package simulate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem.dev/scheduler/sim"
)

// Report is what became of a trace, for programs. Times are seconds; scheduler/sim says what the figures mean.
type Report struct {
	Policy               string  `json:"policy"`
	Rigid                bool    `json:"rigid"`
	StartSeconds         float64 `json:"start_seconds"`
	CheckpointSeconds    float64 `json:"checkpoint_seconds"`
	Overstate            float64 `json:"overstate"`
	Slots                int     `json:"slots"`
	Submitted            int     `json:"submitted"`
	Ended                int     `json:"ended"`
	Killed               int     `json:"killed"`
	MakespanSeconds      float64 `json:"makespan_seconds"`
	MeanWaitSeconds      float64 `json:"mean_wait_seconds"`
	MedianWaitSeconds    float64 `json:"median_wait_seconds"`
	P95WaitSeconds       float64 `json:"p95_wait_seconds"`
	MeanCompletion       float64 `json:"mean_completion_seconds"`
	P95Completion        float64 `json:"p95_completion_seconds"`
	Utilisation          float64 `json:"utilisation"`
	LostSlotHours        float64 `json:"lost_slot_hours"`
	Starts               int     `json:"starts"`
	Resizes              int     `json:"resizes"`
	Parks                int     `json:"parks"`
	Users                int     `json:"users"`
	Fairness             float64 `json:"fairness"`
	Classes              []class `json:"classes"`
	Jobs                 []job   `json:"jobs"`
	neverEnded, neverFit string
}

type class struct {
	Slots          string   `json:"slots"`
	Submitted      int      `json:"submitted"`
	Ended          int      `json:"ended"`
	MeanCompletion *float64 `json:"mean_completion_seconds"` // null where none ended, as what follows
	MeanSlowdown   *float64 `json:"mean_slowdown"`
	P95Slowdown    *float64 `json:"p95_slowdown"`
}

type job struct {
	Name            string   `json:"name"`
	User            string   `json:"user,omitempty"`
	Project         string   `json:"project,omitempty"`
	Slots           int      `json:"slots"`
	Priority        int      `json:"priority"`
	AtSeconds       float64  `json:"at_seconds"`
	State           string   `json:"state"`
	WaitSeconds     *float64 `json:"wait_seconds"`
	CompletionTime  *float64 `json:"completion_seconds"`
	Slowdown        *float64 `json:"slowdown"`
	Starts          int      `json:"starts"`
	Resizes         int      `json:"resizes"`
	Parks           int      `json:"parks"`
	LostSlotSeconds float64  `json:"lost_slot_seconds"`
}

func report(t sim.Trace, cfg sim.Config, result sim.Result) Report {
	s := result.Summary
	r := Report{
		Policy: string(cfg.Policy), Rigid: cfg.Rigid || cfg.Policy != sim.Tandem, Overstate: cfg.Overstate,
		StartSeconds: cfg.Start.Seconds(), CheckpointSeconds: cfg.Checkpoint.Seconds(),
		Submitted: s.Jobs, Ended: s.Ended, Killed: s.Killed, MakespanSeconds: s.Makespan.Seconds(),
		MeanWaitSeconds: s.MeanWait.Seconds(), MedianWaitSeconds: s.MedianWait.Seconds(), P95WaitSeconds: s.Wait95.Seconds(),
		MeanCompletion: s.MeanTurnaround.Seconds(), P95Completion: s.Turnaround95.Seconds(),
		Utilisation: s.Utilisation, LostSlotHours: s.LostHours, Starts: s.Starts, Resizes: s.Resizes, Parks: s.Parks,
		Users: s.Users, Fairness: s.Fairness,
	}
	inPool := map[string]int{}
	for _, n := range t.Nodes {
		r.Slots += n.Slots
		inPool[n.Pool] += n.Slots
	}
	for _, c := range s.Classes {
		line := class{Slots: c.Name(), Submitted: c.Jobs, Ended: c.Ended}
		if c.Ended > 0 {
			line.MeanCompletion = known(c.MeanTurnaround.Seconds())
			line.MeanSlowdown, line.P95Slowdown = known(c.MeanSlowdown), known(c.Slowdown95)
		}
		r.Classes = append(r.Classes, line)
	}
	jobs := make(map[string]sim.Job, len(t.Jobs))
	for _, j := range t.Jobs {
		jobs[j.Name] = j
	}
	for _, o := range result.Jobs {
		j := jobs[o.Name]
		line := job{
			Name: j.Name, User: j.User, Project: j.Project, Slots: j.Slots, Priority: j.Priority, AtSeconds: j.At.Seconds(),
			State: state(o), Starts: o.Starts, Resizes: o.Resizes, Parks: o.Parks, LostSlotSeconds: o.Lost,
		}
		if o.Began {
			line.WaitSeconds = known(o.Wait.Seconds())
		}
		if o.Ended {
			line.CompletionTime, line.Slowdown = known(o.Turnaround.Seconds()), known(o.Slowdown)
		}
		least := j.Min
		if r.Rigid {
			least = j.Slots
		}
		switch {
		case o.Ended || o.Killed:
		case least > inPool[j.Pool] && r.neverFit == "":
			r.neverFit = fmt.Sprintf("%s wants %d slots, and pool %s has %d", j.Name, least, j.Pool, inPool[j.Pool])
		case r.neverEnded == "":
			r.neverEnded = j.Name
		}
		r.Jobs = append(r.Jobs, line)
	}
	return r
}

func known(v float64) *float64 { return &v }

func state(o sim.Outcome) string {
	switch {
	case o.Ended:
		return "ended"
	case o.Killed:
		return "killed"
	case o.Began:
		return "not ended"
	}
	return "never began"
}

// facts are the report for people.
func (r Report) facts() [][2]string {
	policy := r.Policy
	if r.Rigid {
		policy += ", rigid"
	}
	if r.Overstate != 1 {
		policy += fmt.Sprintf(", limits of %g times the time", r.Overstate)
	}
	jobs := fmt.Sprintf("%d, %d ended", r.Submitted, r.Ended)
	if r.Killed > 0 {
		jobs += fmt.Sprintf(", %d killed at their limit", r.Killed)
	}
	never := r.neverFit
	if never == "" && r.neverEnded != "" {
		never = r.neverEnded + " and others of its kind"
	}
	fairness := ""
	if r.Users > 1 {
		fairness = fmt.Sprintf("%.3f over %d users", r.Fairness, r.Users)
	}
	return [][2]string{
		{"Policy", policy},
		{"Jobs", jobs},
		{"Never ended", never},
		{"Time", short(r.MakespanSeconds) + " on " + strconv.Itoa(r.Slots) + " slots"},
		{"Wait", fmt.Sprintf("mean %s, median %s, p95 %s", short(r.MeanWaitSeconds), short(r.MedianWaitSeconds), short(r.P95WaitSeconds))},
		{"Completion", fmt.Sprintf("mean %s, p95 %s", short(r.MeanCompletion), short(r.P95Completion))},
		{"Utilisation", fmt.Sprintf("%.1f %%", 100*r.Utilisation)},
		{"Lost", fmt.Sprintf("%.2f slot-hours", r.LostSlotHours)},
		{"Starts", fmt.Sprintf("%d, %d resizes, %d parks", r.Starts, r.Resizes, r.Parks)},
		{"Fairness", fairness},
	}
}

// classes are the jobs by the slots that they want.
func (r Report) classes() Table {
	t := Table{Header: []string{"SLOTS", "JOBS", "ENDED", "COMPLETION", "SLOWDOWN", "P95"}}
	for _, c := range r.Classes {
		row := []string{c.Slots, strconv.Itoa(c.Submitted), strconv.Itoa(c.Ended), "", "", ""}
		if c.Ended > 0 {
			row[3], row[4], row[5] = short(*c.MeanCompletion), fmt.Sprintf("%.2f", *c.MeanSlowdown), fmt.Sprintf("%.2f", *c.P95Slowdown)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// jobs are all of them, by arrival.
func (r Report) jobs() Table {
	t := Table{Header: []string{
		"JOB", "STATE", "USER", "PROJECT", "SLOTS", "PRIORITY", "ARRIVED", "WAIT", "COMPLETION", "SLOWDOWN",
		"STARTS", "RESIZES", "PARKS", "LOST SLOT-HOURS",
	}}
	for _, j := range r.Jobs {
		row := []string{j.Name, j.State, j.User, j.Project, strconv.Itoa(j.Slots), strconv.Itoa(j.Priority), short(j.AtSeconds), "", "", ""}
		if j.WaitSeconds != nil {
			row[7] = short(*j.WaitSeconds)
		}
		if j.Slowdown != nil {
			row[8], row[9] = short(*j.CompletionTime), fmt.Sprintf("%.2f", *j.Slowdown)
		}
		t.Rows = append(t.Rows, slices.Concat(row, []string{
			strconv.Itoa(j.Starts), strconv.Itoa(j.Resizes), strconv.Itoa(j.Parks), fmt.Sprintf("%.2f", j.LostSlotSeconds/3600),
		}))
	}
	return t
}

// short is a time without what nobody reads.
func short(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
