package search

import "strings"

// Limits of a config.
const (
	mostTrials     = 1_000_000
	mostConcurrent = 10_000
)

// Complete fills in the defaults: those of the method, and of the limits that are zero.
func (c Config) Complete() Config {
	c.Method = c.Method.complete()
	fill(&c.Mode, Min)
	if c.Method.Name == Grid && c.MaxTrials == 0 {
		c.MaxTrials = min(c.Space.GridSize(), mostTrials+1)
	}
	fill(&c.MaxConcurrent, 4)
	if c.Method.Name == PBT {
		c.MaxConcurrent = min(c.MaxConcurrent, c.Method.Population)
	}
	fill(&c.MaxFailed, max(3, c.MaxTrials/5))
	return c
}

// Validate returns all that is wrong with a config whose defaults are filled in.
func (c Config) Validate() []Problem {
	wrong := problems(c.Space.Validate())
	c.Method.validate(&wrong)
	if c.Mode != Min && c.Mode != Max {
		wrong.add("mode", "%q is neither min nor max", c.Mode)
	}
	if c.Method.Name == Grid {
		for _, name := range c.Space.names() {
			if d := c.Space[name]; (d.Double != nil || d.Log != nil) && d.Count == 0 {
				wrong.add("space."+name+".count", "is missing: a grid needs to know how many points to take")
			}
		}
	}
	limit := func(path string, v, most int) {
		if v < 1 || v > most {
			wrong.add(path, "must be 1 to %d, and is %d", most, v)
		}
	}
	if c.Method.Name != Grid || len(wrong) == 0 {
		limit("max_trials", c.MaxTrials, mostTrials)
	}
	limit("max_concurrent_trials", c.MaxConcurrent, mostConcurrent)
	limit("max_failed_trials", c.MaxFailed, mostTrials)
	return wrong
}

// ConfigError is all that is wrong with a config.
type ConfigError struct{ Problems []Problem }

func (e *ConfigError) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.Path + ": " + p.Message
	}
	return strings.Join(parts, "; ")
}
