package main

const introduction = `Cairn joins hospitals, nonprofits and apps around cancer support groups. This is its REST face; the same
contracts are served as gRPC.

**Access.** Public directory data needs no token. Everything else takes an access token, ` + "`Authorization: Bearer …`" + `, got from
` + "`/oauth2/token`" + ` as SMART Backend Services has it (client_credentials with private_key_jwt).

**Names.** A resource's ` + "`name`" + ` is its path under ` + "`/v1/`" + `, such as ` + "`groups/019a8f0c-7b1e-7c3a-9d52-3f6e8a1b2c4d`" + `.

**Safe repeats.** A change with an ` + "`Idempotency-Key`" + ` (a UUID) may be repeated: the same key gives the same answer for 24 hours.

**Concurrent changes.** Send the ETag that you read as ` + "`If-Match`" + `; a stale one gets 412 and nothing is changed.

**Lists** come in pages: send ` + "`nextPageToken`" + ` back as ` + "`pageToken`" + `, with all else the same, until it is empty.

**Formats of the field.** The public directory is also an HSDS API: ` + "`/hsds/v3/services`" + `, ` + "`organizations`" + `, ` + "`service_at_locations`" + `,
` + "`taxonomies`" + ` and ` + "`taxonomy_terms`" + `, with the parameters and pages that the HSDS API reference describes.

**Errors** are a google.rpc.Status: a code, a sentence, and details that a program can read. Quote ` + "`X-Request-Id`" + ` when you ask for help.`

func securitySchemes(scopes object) object {
	return object{
		{"client", object{
			{"type", "oauth2"},
			{"description", "A registered system, by SMART Backend Services: a JWT signed with the client's private key (RS384 or ES384) is exchanged for an access token of five minutes."},
			{"flows", object{{"clientCredentials", object{{"tokenUrl", "/oauth2/token"}, {"scopes", scopes}}}}},
		}},
		{"person", object{
			{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"},
			{"description", "A person, with a token of an OpenID Connect issuer that the operator trusts; the token says organization and roles."},
		}},
	}
}

func sharedParameters() object {
	text := func(name, description, example string, schema object) object {
		return object{{"name", name}, {"in", "header"}, {"description", description}, {"schema", schema}, {"example", example}}
	}
	return object{
		{"IdempotencyKey", text("Idempotency-Key", "Makes the call safe to repeat: the same key gives the same answer for 24 hours, and with another body it is refused. The same as `requestId` in the body.",
			"6f1c2a52-6d0e-4a52-9c3a-0d8f2f1f7a10", object{{"type", "string"}, {"format", "uuid"}})},
		{"IfMatch", text("If-Match", "The ETag that was read. If the resource has changed since, the answer is 412 and nothing is done.", `"3"`, object{{"type", "string"}})},
		{"IfNoneMatch", text("If-None-Match", "The ETag of an earlier answer. If nothing has changed, the answer is 304 without a body.", `"3-9f86d081"`, object{{"type", "string"}})},
	}
}

func sharedHeaders() object {
	return object{
		{"RequestId", object{{"description", "Names this request in the logs; the caller's own X-Request-Id if it sent one."}, {"schema", object{{"type", "string"}}}}},
		{"ETag", object{{"description", "Names this version; for If-Match and If-None-Match."}, {"schema", object{{"type", "string"}}}}},
		{"RetryAfter", object{{"description", "Seconds to wait before trying again."}, {"schema", object{{"type", "integer"}}}}},
	}
}

// failure is an error response with an example.
func failure(description string, code int, reason, message string, details ...any) object {
	info := object{{"@type", "type.googleapis.com/google.rpc.ErrorInfo"}, {"reason", reason}, {"domain", "cairn.care"}}
	request := object{{"@type", "type.googleapis.com/google.rpc.RequestInfo"}, {"requestId", "4bf92f3577b34da6a3ce929d0e0e4736"}}
	example := object{{"code", code}, {"message", message}, {"details", append(append([]any{info}, details...), request)}}
	return object{
		{"description", description},
		{"headers", object{{"X-Request-Id", object{{"$ref", "#/components/headers/RequestId"}}}}},
		{"content", object{{"application/json", object{{"schema", ref("Error")}, {"example", example}}}}},
	}
}

func sharedResponses() object {
	violation := object{{"@type", "type.googleapis.com/google.rpc.BadRequest"}, {"fieldViolations", []any{object{{"field", "pageSize"}, {"description", "must be at most 200"}}}}}
	delay := object{{"@type", "type.googleapis.com/google.rpc.RetryInfo"}, {"retryDelay", "1s"}}
	exhausted := failure("Too many requests for the moment; nothing was done.", 8, "OVERLOADED", "too many requests at once; retry after 1 s", delay)
	headers, ok := exhausted.get("headers").(object)
	if ok {
		headers.set("Retry-After", object{{"$ref", "#/components/headers/RetryAfter"}})
		exhausted.set("headers", headers)
	}
	return object{
		{"BadRequest", failure("Something in the request is not as it must be; the details name the field. Also a rule of the domain that is not met (FAILED_PRECONDITION).", 3, "INVALID_FIELD", "pageSize: must be at most 200", violation)},
		{"Unauthenticated", failure("No token, or one that is not valid.", 16, "TOKEN_REQUIRED", "this call needs an access token: Authorization: Bearer …")},
		{"PermissionDenied", failure("The token does not allow this.", 7, "MISSING_SCOPE", "this call needs the scope groups.write; the token has \"groups.read\"")},
		{"NotFound", failure("It does not exist, or is not for this caller to see.", 5, "NOT_FOUND", "groups/019a8f0c-7b1e-7c3a-9d52-3f6e8a1b2c4d does not exist or is not visible to you")},
		{"Conflict", failure("It exists already, or somebody else was faster.", 6, "ALREADY_EXISTS", "there is one already")},
		{"PreconditionFailed", failure("The ETag in If-Match is stale; nothing was done.", 10, "ETAG_MISMATCH", "etag \"3\" is stale, the resource now has \"4\": read it again and repeat the change")},
		{"Gone", failure("The sync token is of no use any more; begin again without one.", 11, "SYNC_TOKEN_EXPIRED", "the directory has been restored or rebuilt since this token; begin again without a token, and drop what the new listing no longer has")},
		{"ResourceExhausted", exhausted},
		{"Error", failure("Any other error.", 13, "INTERNAL", "internal error; quote the request id to support")},
	}
}

func errorSchema() object {
	return object{
		{"type", "object"},
		{"description", "A google.rpc.Status."},
		{"properties", object{
			{"code", object{{"type", "integer"}, {"format", "int32"}, {"description", "A google.rpc.Code: 3 INVALID_ARGUMENT, 5 NOT_FOUND, 6 ALREADY_EXISTS, 7 PERMISSION_DENIED, 8 RESOURCE_EXHAUSTED, 9 FAILED_PRECONDITION, 10 ABORTED, 11 OUT_OF_RANGE, 13 INTERNAL, 14 UNAVAILABLE, 16 UNAUTHENTICATED."}}},
			{"message", object{{"type", "string"}, {"description", "A sentence for the developer who reads it."}}},
			{"details", object{
				{"type", "array"},
				{"description", "google.rpc details: ErrorInfo with a stable reason always; BadRequest with each bad field; PreconditionFailure with the broken rules of the domain; RetryInfo where a retry helps; RequestInfo with the id to quote."},
				{"items", object{
					{"type", "object"},
					{"properties", object{{"@type", object{{"type", "string"}, {"description", "Which detail it is, e.g. \"type.googleapis.com/google.rpc.ErrorInfo\"."}}}}},
					{"required", []any{"@type"}},
					{"additionalProperties", true},
				}},
			}},
		}},
		{"required", []any{"code", "message"}},
	}
}
