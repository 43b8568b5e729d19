// Command protodeps writes the third-party .proto files that Cairn's contracts import.
//
// They are not committed: the Go packages named below embed their descriptors, go.sum pins those
// packages, and this program prints the descriptors as source. It needs no network.
//
//	protodeps DIR
package main

import (
	"fmt"
	"os"
	"strings"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/api/httpbody"
	_ "google.golang.org/genproto/googleapis/rpc/code"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	_ "google.golang.org/genproto/googleapis/type/date"
	_ "google.golang.org/genproto/googleapis/type/dayofweek"
	_ "google.golang.org/genproto/googleapis/type/interval"
	_ "google.golang.org/genproto/googleapis/type/latlng"
	_ "google.golang.org/genproto/googleapis/type/money"
	_ "google.golang.org/genproto/googleapis/type/timeofday"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "protodeps:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: protodeps DIR")
	}
	var files []protoreflect.FileDescriptor
	for file := range protoregistry.GlobalFiles.RangeFiles {
		if !strings.HasPrefix(file.Path(), "google/protobuf/") { // buf brings these itself
			files = append(files, file)
		}
	}
	printer := protoprint.Printer{SortElements: true, Compact: true}
	return printer.PrintProtosToFileSystem(files, args[0])
}
