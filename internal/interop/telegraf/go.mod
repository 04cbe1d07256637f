module github.com/micro/go-platform/internal/interop/telegraf

go 1.26.0

require github.com/micro/go-platform v0.0.0

require github.com/influxdata/telegraf v1.37.2 // indirect

replace github.com/micro/go-platform => ../../..
