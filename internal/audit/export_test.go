package audit

// Inner names for the tests.
var (
	HideAccessToken = hideAccessToken
	HideToken       = hideToken
	HideValues      = hideValues
	Printable       = printable
)
