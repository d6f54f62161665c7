# Builds an image with Drydock: `drydock daemon` first, then `terraform init && terraform apply`.
terraform {
  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = "3.0.2"
    }
  }
}

variable "docker_host" {
  description = "Where the daemon listens"
  default     = "unix:///run/drydock.sock"
}

provider "docker" {
  host = var.docker_host
}

resource "docker_image" "hello" {
  name = "hello:1"
  build {
    context = "${path.module}/context"
  }
}

output "id" {
  value = docker_image.hello.image_id
}
