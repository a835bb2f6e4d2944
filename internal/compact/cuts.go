package compact

// Cuts are strings that are made of parts of a token and share one text, so that
// all of them take one allocation. Who keeps one of them keeps all of the text.
type Cuts struct {
	text []byte
	cuts []cut
}

// A cut is where the text of one of them ends.
type cut struct {
	into *string
	end  int
}

// Cuts returns those of a token, of which there are none yet.
func (t *Token) Cuts() *Cuts {
	t.cuts.forget()
	return &t.cuts
}

// Add notes that into becomes a prefix with a text behind it.
func (c *Cuts) Add(into *string, prefix string, text []byte) {
	c.text = append(append(c.text, prefix...), text...)
	c.cuts = append(c.cuts, cut{into, len(c.text)})
}

// Make makes what was noted.
func (c *Cuts) Make() {
	all, from := string(c.text), 0
	for _, one := range c.cuts {
		*one.into, from = all[from:one.end], one.end
	}
	c.forget()
}

// forget wipes what was noted.
func (c *Cuts) forget() {
	clear(c.text)
	clear(c.cuts)
	c.text, c.cuts = c.text[:0], c.cuts[:0]
}
