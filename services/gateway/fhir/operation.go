package fhir

import (
	"context"
	"net/http"
	"strings"
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

	// handle answers anybody, without a token; rest is the path below its own, without slashes at the ends. What it returns is told as an OperationOutcome,
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
	return op.handle(anonymous(r.Context()), c, w, r, strings.Trim(strings.TrimPrefix(path, op.path), "/"))
}
