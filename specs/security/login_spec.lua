describe("a login", function()
  it("is given to a user", function()
    aggregate("login", "ada@example.com")
      :when   { AddPassword { user_id = "ada", hash = "$2b$1" } }
      :expect { PasswordAdded { user_id = "ada", hash = "$2b$1" } }
  end)

  it("belongs to one user only", function()
    aggregate("login", "ada@example.com")
      :given   { PasswordAdded { user_id = "ada", hash = "$2b$1" } }
      :when    { AddPassword { user_id = "eve", hash = "$2b$2" } }
      :rejects "taken"
  end)

  it("gets a new password of its user", function()
    aggregate("login", "ada@example.com")
      :given  { PasswordAdded { user_id = "ada", hash = "$2b$1" } }
      :when   { AddPassword { user_id = "ada", hash = "$2b$2" } }
      :expect { PasswordAdded { user_id = "ada", hash = "$2b$2" } }
  end)
end)
