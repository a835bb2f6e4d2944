package door

// Inner names for the tests.
var (
	NamesIdentity   = namesIdentity
	HasFoldedPrefix = hasFoldedPrefix
)

// LastWords is how long an answer may be on its way after its request's time.
const LastWords = lastWords
