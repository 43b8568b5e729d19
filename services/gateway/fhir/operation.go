package fhir

import (
	"context"
	"net/http"
	"strings"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// operations are what the whole system does beside its interactions.
func operations() []operation {
	return []operation{bulkPublish()}
}

// operation is an operation of the system, such as $bulk-publish. The paths below its own are its, too.
type operation struct {
	path       string // "$bulk-publish"
	definition string // canonical URL of its OperationDefinition, or of the specification
	doc        string
	public     bool     // is called without a token
	scopes     []string // of the services, that it needs

	// handle answers; rest is the path below its own, without slashes at the ends. What it returns is told as an OperationOutcome,
	// so it must not have written anything then.
	handle func(ctx context.Context, c *call, w http.ResponseWriter, r *http.Request, rest string) error
}

// operationAt finds the operation at a path, nil if there is none.
func (f *Face) operationAt(path string) *operation {
	for i := range f.operation {
		if op := &f.operation[i]; path == op.path || strings.HasPrefix(path, op.path+"/") {
			return op
		}
	}
	return nil
}

func (f *Face) operate(w http.ResponseWriter, r *http.Request, op *operation, path string) error {
	c, err := f.call(r)
	if err != nil {
		return err
	}
	ctx := anonymous(r.Context())
	if !op.public {
		if c.principal.Kind != auth.Client {
			return fault.Unauthenticated("TOKEN_REQUIRED", "%s needs an access token of a registered client", op.path)
		}
		ctx = c.holding(r.Context(), op.scopes)
	}
	return op.handle(ctx, c, w, r, strings.Trim(strings.TrimPrefix(path, op.path), "/"))
}
