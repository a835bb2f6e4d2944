package audit

// Inner names for the tests.
var (
	AppendEvent     = appendEvent
	HideAccessToken = hideAccessToken
	HideToken       = hideToken
	HideValues      = hideValues
	Printable       = printable
)
