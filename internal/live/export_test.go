package live

import (
	"context"
	"time"
)

// Look looks once at all that is open.
func Look(r *Registry) { r.look(context.Background(), time.Now()) }
