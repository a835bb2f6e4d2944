package audit

// Inner names for the tests.
var (
	HideAccessToken = hideAccessToken
	HideToken       = hideToken
	Printable       = printable
)
