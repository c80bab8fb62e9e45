package dataset

const (
	// farApart is the ratio of two spreads from which on the smaller one is lost to an optimizer that has one learning rate for all.
	farApart = 1000
	// fewRows is how many may rise by chance.
	fewRows = 20
)

// doubt notes in the report what the columns of a table look like that is seldom meant. It is not an error: it may be. Pixels are not
// columns: those at the borders of images are often all the same.
func (b *builder) doubt(m Manifest) {
	dim := len(b.columns)
	if len(m.Shape) > 1 {
		return
	}
	smallest, largest := -1, -1
	for j, i := range b.columns {
		s := m.Stats[j]
		b.report.Columns[i].Constant = s.Min == s.Max
		b.report.Columns[i].Counts = b.kinds[i].name() == "int" && b.counts(j, dim)
		if s.Std == 0 {
			continue
		}
		if smallest < 0 || s.Std < m.Stats[smallest].Std {
			smallest = j
		}
		if largest < 0 || s.Std > m.Stats[largest].Std {
			largest = j
		}
	}
	if each := m.Normalization.Method == MethodStandard || m.Normalization.Method == MethodMinMax; each || smallest < 0 {
		return
	}
	if m.Stats[largest].Std > farApart*m.Stats[smallest].Std {
		b.report.Scales = [2]string{m.Features[smallest], m.Features[largest]}
	}
}

// counts says whether a feature rises, or falls, with each row of the file.
func (b *builder) counts(feature, dim int) bool {
	if len(b.lines) < fewRows {
		return false
	}
	rises, falls := true, true
	for r := 1; r < len(b.lines); r++ {
		last, this := b.features[(r-1)*dim+feature], b.features[r*dim+feature]
		rises, falls = rises && this > last, falls && this < last
	}
	return rises || falls
}
