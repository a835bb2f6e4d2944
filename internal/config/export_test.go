package config

import "strings"

// Decode reads data over the defaults, as a file of the given name.
func Decode(name string, data []byte) (*Configuration, error) {
	c := Default()
	c.where = make(map[string]string)
	return c, c.decode(name, data)
}

// ParseNamedCertificate reads the value of the flag --tls-sni-cert-key.
func ParseNamedCertificate(s string) (NamedCertificate, error) { return parseNamedCertificate(s) }

// CommentedDefaults returns the default that the comment of each setting tells,
// by the path of the setting. A comment that is shared by both audit backends
// reads "1 (log), 400 (webhook)" where they differ.
func CommentedDefaults() map[string]string {
	texts := comments()
	told := make(map[string]string)
	for _, s := range Default().settings() {
		_, text, _ := strings.Cut(texts[s.doc], " Default: ")
		text = strings.TrimSuffix(text, ".")
		for part := range strings.SplitSeq(text, ", ") {
			if value, backend, ok := strings.Cut(part, " ("); ok && strings.HasPrefix(s.path, "audit."+strings.TrimSuffix(backend, ")")+".") {
				text = value
			}
		}
		told[s.path] = text
	}
	return told
}
