package compact

import "strings"

// Cuts make strings that share one text, so that all of them take one allocation,
// if Grow has made room for them. Who keeps one of them keeps all of the text.
type Cuts struct{ strings.Builder }

// Add returns a prefix with a text behind it.
func (c *Cuts) Add(prefix string, text []byte) string {
	from := c.Len()
	c.WriteString(prefix)
	c.Write(text)
	return c.String()[from:]
}
