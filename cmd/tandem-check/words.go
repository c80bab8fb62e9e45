package main

import "regexp"

// word is one that this project writes otherwise, everywhere that people read: in code, schema, documents and what tests compare with.
type word struct {
	pattern *regexp.Regexp
	right   string
	bad     string // a line that has it, for the test
}

// notThere begins a pattern that is not to match after "there" or "where": "there is no file" is right.
const notThere = `(?:^|[^e]\s|[^r]e\s)`

// words are of one person's English, or not English. Add the next that a reader stumbles over.
var words = []word{
	{regexp.MustCompile(`\b[dD]ata sets?\b`), "dataset", "a data set"},
	{regexp.MustCompile(`\b[dD]ata bases?\b`), "database", "the data base"},
	{regexp.MustCompile(`\bdatas\b`), "data", "the datas of a job"},
	{regexp.MustCompile(`\binformations\b`), "information", "more informations"},
	{regexp.MustCompile(`\bfunctionalit(y|ies)\b`), "feature, or what it does", "this functionality"},
	{regexp.MustCompile(notThere + `is no (number|file|name|text|folder|directory|sweep|model|certificate|host|token|string)\b`), "is not a ...", "x is no folder"},
	{regexp.MustCompile(notThere + `is no (integer|address|error|event|admin|object|answer|engine)\b`), "is not an ...", "it is no error"},
	{regexp.MustCompile(notThere + `is no (member|peer|message|command|row|field|header|prefix|list)\b`), "is not a ...", "x is no member"},
	{regexp.MustCompile(notThere + `is no (hang|request|process|program|segment|key|quote)\b`),
		"is not a ...", "it is no hang"},
	{regexp.MustCompile(notThere + `is no (positive|whole|plain) \w+`), "is not a ...", "3.5 is no whole number"},
	{regexp.MustCompile(`\bthe (last|first|best) so many\b`), "the number of", "only the last so many lines"},
	{regexp.MustCompile(`\bis no (JSON|UTF-8)\b|\bno JSON\b`), "is not valid ...", "the data is no JSON"},
	{regexp.MustCompile(`\bare no (numbers|files|names|texts)\b`), "are not ...", "a and b are no names"},
	{regexp.MustCompile(`\b(is|are|was|were) not there\b`), "does not exist, is missing, or was not found", "node x is not there"},
	{regexp.MustCompile(`\b(is|are|was|were) there already\b`), "already exists", "job x is there already"},
	{regexp.MustCompile(`\b(is|stands) there twice\b`), "occurs twice", "x is there twice"},
	{regexp.MustCompile(`\bat the most\b`), "at most", "3 at the most"},
	{regexp.MustCompile(`\bat the least\b`), "at least", "3 at the least"},
	{regexp.MustCompile(`\b(with|after|at most|at least|for|do|of) so many\b`), "this many, or the number of", "at most so many rows"},
	{regexp.MustCompile(`\bso (many|much) as\b`), "as many as, as much as", "so many as it can"},
	{regexp.MustCompile(`\bthe (%d|\d+|n|N)\. time\b`), "once more, or say the number", "for the 3. time"},
	{regexp.MustCompile(`\b(has|have|had) come to (a|its|their|the) limit\b`), "reached its limit", "it has come to its limit"},
	{regexp.MustCompile(`\b(rank|node|engine|file|checkpoint|group|process|member|agent|coordinator|worker|store|peer)s? who\b`), "that", "a rank who leaves"},
	{regexp.MustCompile(`\b(all|everything) what\b`), "all that", "all what is kept"},
	{regexp.MustCompile(`\bin the meanwhile\b`), "meanwhile", "in the meanwhile it waits"},
	{regexp.MustCompile(`\bup to now\b`), "so far, until now", "the best up to now"},
	{regexp.MustCompile(`\bin the moment\b`), "at present, now", "in the moment it trains"},
	{regexp.MustCompile(`\btill\b`), "until", "wait till it ends"},
	{regexp.MustCompile(`\bin case that\b`), "if", "in case that it ends"},
	{regexp.MustCompile(`\bsince (\d+|%d|%s|%v) (seconds|minutes|hours|days)\b`), "for", "away since 3 minutes"},
	{regexp.MustCompile(`\bper default\b`), "by default", "per default 3"},
	{regexp.MustCompile(`\b[cC]an not\b`), "cannot", "it can not be read"},
	{regexp.MustCompile(`\bmust not to\b`), "must not, or need not", "it must not to end"},
	{regexp.MustCompile(`\bfor to\b`), "to", "for to read it"},
	{regexp.MustCompile(`\bdepends? from\b`), "depends on", "that depends from the seed"},
	{regexp.MustCompile(`\bdiffers? to\b`), "differs from", "it differs to that"},
	{regexp.MustCompile(`\bconsists? in\b`), "consists of", "it consists in two parts"},
	{regexp.MustCompile(`\bspends? \w+ for\b`), "spends on", "it spends time for that"},
	{regexp.MustCompile(`\balternatively to\b`), "instead of", "alternatively to that"},
	{regexp.MustCompile(`\bthe same (like|than)\b`), "the same as", "the same like before"},
	{regexp.MustCompile(`\b(more|bigger|larger|smaller|other|older|newer|faster) as\b`), "than", "larger as that"},
	{regexp.MustCompile(`\bless (files|nodes|slots|rows|steps|trials|ranks|workers)\b`), "fewer", "with less ranks"},
	{regexp.MustCompile(`\bamount of (files|nodes|slots|rows|steps|trials|ranks|workers)\b`), "number of", "the amount of rows"},
	{regexp.MustCompile(`\bso called\b`), "so-called, or its name alone", "the so called rank"},
	{regexp.MustCompile(`\bhow (it|they) (is|are) called\b`), "what it is called", "how it is called"},
	{regexp.MustCompile(`\bunder Linux\b`), "on Linux", "under Linux"},
	{regexp.MustCompile(`\bwrong spelled\b`), "misspelt", "a wrong spelled key"},
}
