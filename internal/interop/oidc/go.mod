module github.com/micro/go-platform/internal/interop/oidc

go 1.26.0

require github.com/micro/go-platform v0.0.0

replace github.com/micro/go-platform => ../../..
